/** A refused call of a tool, as a client gets it. */
export interface ToolError {
  /** One of `callErrorCodes`. */
  readonly code: string;
  readonly message: string;
  /** What the caller can do now. */
  readonly hint: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number | undefined;
}

/** The result of a refused call: `[CODE IN WORDS] message. hint` as text, the code and the rest as structured content. */
export function toolFailure({ code, message, hint, retryable, retryAfterMs }: ToolError) {
  const error = {
    code,
    message,
    retryable,
    hint,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
  };
  const text = `[${code.replaceAll('_', ' ').toUpperCase()}] ${sentence(message)} ${hint}`;
  return { isError: true, content: [{ type: 'text' as const, text }], structuredContent: { error } };
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
