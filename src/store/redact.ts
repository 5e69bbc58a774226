const replacement = '[redacted]';

/** Forms of tokens that their issuers document, and words that say of what follows that it is one. */
const secrets = new RegExp(
  [
    String.raw`\bsk-[A-Za-z0-9_-]{20,}`,
    String.raw`\bgh[pousr]_[A-Za-z0-9]{30,}`,
    String.raw`\bgithub_pat_[A-Za-z0-9_]{30,}`,
    String.raw`\bglpat-[A-Za-z0-9_-]{20,}`,
    String.raw`\bnpm_[A-Za-z0-9]{30,}`,
    String.raw`\bxox[abposr]-[A-Za-z0-9-]{10,}`,
    String.raw`\bA(?:KI|SI)A[A-Z0-9]{16}\b`,
    String.raw`\bAIza[A-Za-z0-9_-]{35}`,
    String.raw`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`,
    // In JSON a line break is written as \n.
    String.raw`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{1,10000}?-----END [A-Z ]*PRIVATE KEY-----`,
    String.raw`(?<=\b[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*`,
    String.raw`(?<=://[^\s:@/"]{1,100}:)[^\s:@/"]{3,200}(?=@)`,
    String.raw`(?<=(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|password|passwd)\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?)[^\s"'\\,;]{8,}`,
  ].join('|'),
  'gi',
);

/** A cheap look at whether there can be one at all, because a flood of text passes here. */
const hint =
  /sk-|gh[pousr]_|github_pat|glpat|npm_|xox|a[ks]ia|aiza|eyj|private key|bearer|:\/\/|key|token|secret|passw/i;

/** The text without what looks like a token, a key or a password. JSON stays JSON. */
export function redact(text: string): string {
  return hint.test(text) ? text.replace(secrets, replacement) : text;
}
