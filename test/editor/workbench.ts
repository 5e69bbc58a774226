/// <reference lib="dom" />
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { type Browser, type Editor, enableCopilot, startBrowser } from '../rig/editor';
import { until } from '../rig/until';

const shots = join(import.meta.dirname, '../../out/screenshots');
/** Ten times what a quiet machine takes: people run this on busy ones. */
const limitMs = 60_000;
const quickInput = '.quick-input-widget:visible';

/** The real editor in a browser, used as a person uses it. */
export class Workbench {
  page: Page;
  private browser: Browser;
  private readonly editor: Editor;

  private constructor(editor: Editor, browser: Browser) {
    this.editor = editor;
    this.browser = browser;
    this.page = browser.page;
    this.page.setDefaultTimeout(limitMs);
  }

  /** Opens the editor in a browser that does not know it yet. */
  static async open(editor: Editor): Promise<Workbench> {
    await mkdir(shots, { recursive: true });
    const workbench = new Workbench(editor, await startBrowser());
    await workbench.load();
    return workbench;
  }

  /** The same in another new browser. */
  async reopen(): Promise<void> {
    await this.close();
    this.browser = await startBrowser();
    this.page = this.browser.page;
    this.page.setDefaultTimeout(limitMs);
    await this.load();
  }

  close(): Promise<void> {
    return this.browser.close();
  }

  async shot(name: string): Promise<void> {
    await this.page.screenshot({ path: join(shots, `${name}.png`) });
  }

  /** Resolves when nothing moves, for a picture. */
  async still(): Promise<void> {
    await this.page.evaluate(() =>
      Promise.allSettled(
        document
          .getAnimations()
          .flatMap((one) => (one.effect?.getTiming().iterations === Infinity ? [] : one.finished)),
      ),
    );
  }

  statusBar(text = 'Codex'): Locator {
    return this.page.locator('.statusbar-item', { hasText: text });
  }

  /** Our own item, whatever else in the status bar speaks of Codex. */
  get status(): Locator {
    return this.page.locator('.statusbar-item[id$="codexWorker.status"]');
  }

  /** A row of our tree. */
  row(text: string): Locator {
    return this.page.locator('.pane-body .monaco-list-row', { hasText: text });
  }

  /** A row of what the editor offers to pick. */
  pick(text: string): Locator {
    return this.page.locator(`${quickInput} .monaco-list-row`, { hasText: text }).first();
  }

  /** The box of what the editor asks to type. */
  get input(): Locator {
    return this.page.locator(`${quickInput} input`).first();
  }

  async palette(command: string): Promise<void> {
    // A picker that is just closing takes the new one along.
    await until('the palette is open', async () => {
      await this.page.keyboard.press('F1');
      return this.input.fill(`>${command}`, { timeout: 5_000 }).then(
        () => true,
        () => false,
      );
    });
    await this.pick(command).click();
    // Where the mouse rests, a hover would cover what comes next.
    await this.page.mouse.move(640, 795);
  }

  /** Hides the tasks behind the explorer. */
  async showExplorer(): Promise<void> {
    const explorer = this.page.locator('.explorer-folders-view');
    // A click into a list that is still being filtered can reach another command.
    await until('the explorer is shown', async () => {
      await this.palette('View: Show Explorer');
      return explorer.waitFor({ timeout: 3_000 }).then(
        () => true,
        () => false,
      );
    });
  }

  async showTasks(): Promise<void> {
    const icon = this.page.locator('[aria-label^="Codex Worker"]');
    await this.page.locator('.activitybar .action-item', { has: icon }).click();
  }

  /** The number at our icon in the activity bar. */
  get badge(): Locator {
    const icon = this.page.locator('[aria-label^="Codex Worker"]');
    return this.page.locator('.activitybar .action-item', { has: icon }).locator('.badge-content:visible');
  }

  /** Opens a file of the workspace in an editor, which then has the keyboard. */
  async openFile(name: string): Promise<void> {
    await this.page.keyboard.press('Control+P');
    await this.input.fill(name);
    await this.pick(name).click();
    await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
  }

  /** Starts a task, in an approval profile if one is named, and waits until it is in the tree. */
  async newTask(prompt: string, { profile, waits = true }: { profile?: string; waits?: boolean } = {}): Promise<void> {
    await this.palette('Codex Worker: New Task');
    const title = this.page.locator('.quick-input-title', { hasText: 'New Codex Task' });
    await title.waitFor();
    if (profile !== undefined) {
      await this.page.locator(`${quickInput} .action-label[aria-label="When shall it ask you?"]`).click();
      await this.pick(profile).click();
      await title.waitFor();
    }
    await this.input.fill(prompt);
    await this.input.press('Enter');
    if (waits) await this.row(prompt.slice(0, 60)).first().waitFor();
  }

  /** Clicks an inline action of a row. */
  async inline(text: string, action: string): Promise<void> {
    const row = this.row(text).first();
    // A row that moves, because its task goes on, leaves the mouse behind.
    await until(`${action} of "${text}" is clicked`, () =>
      row
        .hover({ timeout: 3_000 })
        .then(() => row.locator(`.action-label[aria-label^="${action}"]`).click({ timeout: 3_000 }))
        .then(
          async () => !(await this.lostItsRow()),
          () => false,
        ),
    );
  }

  /** A click while a row is drawn anew loses it: the command then asks which is meant. A person closes that and clicks again. */
  private async lostItsRow(): Promise<boolean> {
    const asks = 'Which log?|Which tasks shall be cancelled?|What do you approve?|What do you reject?'.split('|');
    const picker = this.page.locator(asks.map((text) => `${quickInput} input[placeholder="${text}"]`).join(', '));
    const isLost = await picker.waitFor({ timeout: 700 }).then(() => true, () => false); // prettier-ignore
    if (isLost) await this.page.keyboard.press('Escape');
    return isLost;
  }

  /** Approves from the row of a request; one that the row shows in part is opened first, and approved when it is seen. */
  async approve(text: string): Promise<void> {
    await this.inline(text, 'Approve');
    const row = this.row(text).first();
    const shown = this.page.locator('.tab.active', { hasText: / of .*\.md/ });
    const opens = shown.waitFor({ timeout: 10_000 }).then(() => true, () => false); // prettier-ignore
    const goes = row.waitFor({ state: 'hidden' }).then(() => false);
    if (await Promise.race([opens, goes])) await this.inline(text, 'Approve');
  }

  /** Has Copilot's agent do what LAB_QUERY says, allowing its first tool; resolves when it has begun. */
  async askCopilot(): Promise<void> {
    const allow = this.page.getByRole('button', { name: /^Allow/ }).first();
    await until('Copilot asks', async () => {
      // Right after a reload the chat model may not be there yet.
      await this.palette('Lab: Ask Copilot');
      return allow.waitFor({ timeout: 15_000 }).then(
        () => true,
        () => false,
      );
    });
    await allow.click();
  }

  /** Copilot's answers that hold a text. */
  answers(text: string): Locator {
    return this.page.locator('.interactive-response', { hasText: text });
  }

  private async load(): Promise<void> {
    await enableCopilot(this.page, this.editor);
    await this.page.goto(this.editor.folderUrl);
    await this.statusBar().waitFor();
  }
}
