import * as vscode from 'vscode';

/** A notification that is open. */
export interface Notice {
  readonly key: string;
  readonly update: (text: string) => void;
  readonly close: () => void;
}

const laterButton = 'Later';

/**
 * A notification with progress is the only kind that can be closed from here; its links are in its text. It is cancellable
 * because the editor shows one without a button as a single line that hides the links (seen with 1.139). The editor takes the
 * name of that button in place of `true`, which its types leave out; where it does not, the button is called "Cancel".
 */
export function showNotice(key: string, onCancelled: () => void): Notice {
  let shown = '';
  let report: (message: string) => void = () => undefined;
  let close: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const options = { location: vscode.ProgressLocation.Notification, cancellable: laterButton as unknown as boolean };
  void vscode.window.withProgress(options, (progress, token) => {
    report = (message) => progress.report({ message });
    if (shown !== '') report(shown);
    token.onCancellationRequested(onCancelled);
    return closed;
  });
  return {
    key,
    close,
    update: (text) => {
      if (text === shown) return;
      shown = text;
      report(text);
    },
  };
}
