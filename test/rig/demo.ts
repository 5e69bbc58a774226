import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import { writeCodexHome } from '../../src/demo/codexHome';
import { writeSampleWorkspace } from '../../src/demo/sampleWorkspace';
import { type ScriptedModel, startScriptedModel } from '../../src/demo/scriptedModel';
import { demoScript } from '../../src/demo/story';
import { launcherPath, newCodexHome, newDataDir } from './codexRig';

/** The demo: the real Codex CLI with a scripted model on loopback, in a sample workspace. */
export interface Demo {
  readonly workspace: string;
  readonly codexPath: string;
  readonly model: ScriptedModel;
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

export async function startDemo(thinkMs = 1_200): Promise<Demo> {
  const dir = await mkdtemp(join(tmpdir(), 'codex-worker-demo-'));
  const dataDir = await newDataDir();
  const workspace = join(dir, 'greeter');
  await writeSampleWorkspace(workspace);
  const model = await startScriptedModel({ scriptOf: demoScript, thinkMs });
  const codexHome = await newCodexHome();
  await writeCodexHome(codexHome, { modelUrl: model.url });
  const { path: codexPath } = await findCodex(thisMachine(launcherPath, null));
  return {
    workspace,
    codexPath,
    model,
    env: { CODEX_HOME: codexHome, CODEX_WORKER_DATA: dataDir, CODEX_WORKER_DEMO: '1' },
    async stop() {
      await model.close();
      for (const one of [dir, dataDir, codexHome]) await rm(one, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
