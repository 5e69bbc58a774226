import * as vscode from 'vscode';
import { z } from 'zod';
import type { TaskId } from '../core/taskId';
import { requestOfDocument } from './requestReview';

/** What a command is about: a task, or one of its requests. */
export interface TaskTarget {
  readonly taskId: TaskId;
  readonly requestId: string | undefined;
  /** It comes from a row of the tree, which shows some characters of a request only. */
  readonly isRow?: boolean;
}

const argument = z.union([
  z
    .object({ kind: z.literal('task'), id: z.string(), asked: z.string().optional() })
    .transform(({ id, asked }) => ({ taskId: id, requestId: asked, isRow: true })),
  z
    .object({
      kind: z.literal('detail'),
      taskId: z.string(),
      detail: z.object({ request: z.object({ id: z.string() }).optional() }),
    })
    .transform(({ taskId, detail }) => ({ taskId, requestId: detail.request?.id, isRow: true })),
  z
    .object({ kind: z.literal('damaged'), id: z.string() })
    .transform(({ id }) => ({ taskId: id, requestId: undefined })),
  z
    .object({ kind: z.literal('request'), taskId: z.string(), requestId: z.string() })
    .transform(({ taskId, requestId }) => ({ taskId, requestId })),
]);

/** Reads the argument of a command: a node of the tree, a link of a notification, or an editor that shows a request. */
export function targetOf(value: unknown): TaskTarget | undefined {
  if (value instanceof vscode.Uri) return requestOfDocument(value);
  return argument.safeParse(value).data;
}
