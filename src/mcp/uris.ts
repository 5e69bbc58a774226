/** Resources of one task, by the part of the URI after its id; '' is the detail. */
export const taskResources = ['', '/log', '/log.verbose', '/timeline', '/events', '/events/summary', '/diff'] as const;
export type TaskResource = (typeof taskResources)[number];

export const scoreboardUri = 'task:///all';

export function taskUri(id: string, resource: TaskResource = ''): string {
  return `task:///${id}${resource}`;
}

export interface ResourceAddress {
  /** `all` for the scoreboard. */
  readonly id: string;
  readonly resource: TaskResource;
  /** Bytes; null when the reader did not say. */
  readonly offset: number | null;
  readonly limit: number | null;
}

/** Parses a `task:///` URI with its optional `offset` and `limit`; undefined when it has another form. */
export function parseTaskUri(uri: string): ResourceAddress | undefined {
  const match = /^task:\/\/\/([a-z0-9-]+)((?:\/[a-z.]+)*)(?:\?(.*))?$/.exec(uri);
  const [, id, path = '', query = ''] = match ?? [];
  const resource = taskResources.find((one) => one === path);
  if (id === undefined || resource === undefined) return undefined;
  const parameters = new URLSearchParams(query);
  const [offset, limit] = ['offset', 'limit'].map((name) => parameters.get(name));
  if ([offset, limit].some((value) => value !== null && value !== undefined && !/^\d{1,15}$/.test(value)))
    return undefined;
  if ([...parameters.keys()].some((name) => name !== 'offset' && name !== 'limit')) return undefined;
  return { id, resource, offset: numberOf(offset), limit: numberOf(limit) };
}

function numberOf(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text);
}
