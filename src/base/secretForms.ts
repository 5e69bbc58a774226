/**
 * What secrets look like. Token forms are facts that their issuers document, as gitleaks and secretlint collect them; what
 * announces a value is a name, a header or an option in front of it. Every pattern fails within a bounded number of
 * characters, or takes all that it looked at, so that a text costs time in proportion to its length.
 */

/** Tokens that are known by themselves. Before them stands no character of a word. */
export const tokenForms: readonly string[] = [
  String.raw`sk-[A-Za-z0-9_-]{20,}`, // OpenAI, Anthropic, OpenRouter, LiteLLM
  String.raw`[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}`, // Stripe
  String.raw`whsec_[A-Za-z0-9+/=]{20,}`, // Stripe, Svix
  String.raw`gh[pousr]_[A-Za-z0-9]{30,}`, // GitHub
  String.raw`github_pat_[A-Za-z0-9_]{30,}`,
  String.raw`gl(?:pat|rt|dt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_-]{20,}`, // GitLab
  String.raw`npm_[A-Za-z0-9]{30,}`,
  String.raw`pypi-AgE[A-Za-z0-9_-]{30,}`,
  String.raw`rubygems_[a-f0-9]{40,}`,
  String.raw`dckr_[a-z]{3}_[A-Za-z0-9_-]{20,}`, // Docker
  String.raw`xox[abeposr](?:\.xox[bp])?-[A-Za-z0-9-]{10,}`, // Slack
  String.raw`xapp-\d-[A-Za-z0-9-]{20,}`,
  String.raw`A(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9])`, // AWS
  String.raw`AIza[A-Za-z0-9_-]{35}`, // Google
  String.raw`ya29\.[A-Za-z0-9_-]{20,}`,
  String.raw`GOCSPX-[A-Za-z0-9_-]{20,}`,
  String.raw`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`, // JWT
  String.raw`hf_[A-Za-z0-9]{30,}`, // Hugging Face
  String.raw`do[opr]_v1_[a-f0-9]{60,}`, // DigitalOcean
  String.raw`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}`, // SendGrid
  String.raw`AGE-SECRET-KEY-1[A-Za-z0-9]{50,}`,
  String.raw`\d{8,10}:AA[A-Za-z0-9_-]{30,}`, // Telegram
  String.raw`hv[sbr]\.[A-Za-z0-9_-]{24,}`, // Vault
  String.raw`shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32,}`, // Shopify
  String.raw`gsk_[A-Za-z0-9]{40,}`, // Groq
  String.raw`(?:lin_api|pscale_tkn|pscale_pw|figd|nvapi|pplx|dapi|tfp|glsa|ntn)[_-][A-Za-z0-9_-]{30,}`,
];

/** A quotation mark, written in JSON too, or none. */
const quote = String.raw`(?:\\{0,3}["'\x60])?`;
/** Between a name and its value. */
const assigned = String.raw`${quote}\s{0,3}(?:[:=：]|:=|=>)\s{0,3}${quote}`;
/** A value up to what can end it. */
const value = String.raw`[^\s"'\x60\\,<>]`;

export interface AnnouncedForm {
  readonly lead: string;
  readonly value: string;
  /** Whether anything of that length is taken for a secret, or what looks like chance only. */
  readonly isCertain: boolean;
}

/** Values that something in front of them announces. */
export const announcedForms: readonly AnnouncedForm[] = [
  // Names that say so by themselves.
  {
    lead: `(?:api[_ -]?key|access[_-]?key|secret[_-]?key|account[_-]?key|client[_-]?key[_-]data|(?:access|auth|refresh|session|id|security)[_-]?token|client[_-]?secret|pass(?:word|wd|phrase)|pgpass)${assigned}`,
    value: `${value}{4,}`,
    isCertain: true,
  },
  // Names that say so often.
  { lead: `(?:token|secret|pass|pwd|auth|sig|credentials?)${assigned}`, value: `${value}{12,}`, isCertain: false },
  { lead: String.raw`(?:password|passphrase|token|secret|key) is:?\s{1,2}${quote}`, value: `${value}{8,}`, isCertain: false },
  { lead: String.raw`authorization${assigned}(?:basic|bearer|digest|token|apikey)\s{1,3}`, value: `${value}{8,}`, isCertain: true },
  { lead: String.raw`bearer(?:\s|\\t){1,3}`, value: String.raw`[A-Za-z0-9._~+/-]{16,}=*`, isCertain: true },
  { lead: String.raw`cookie${assigned}(?:[^\s=;"']{1,64}=[^\s;"']{0,2000};\s?){0,20}[^\s=;"']{1,64}=`, value: String.raw`[^\s;"'\\]{8,}`, isCertain: true },
  // Options and files of programs.
  { lead: String.raw`mysql(?:dump|admin)?(?:\s[^\n|;&]{0,80}?)?\s-p`, value: String.raw`[^\s'"\\-][^\s'"\\]{3,}`, isCertain: true },
  { lead: String.raw`(?:curl|wget|https?)(?:\s[^\n|;&]{0,120}?)?\s(?:-u|--user)[ =]\s?["']?[^\s:"']{1,64}:`, value: `${value}{3,}`, isCertain: true },
  { lead: String.raw`machine[ \t]{1,4}\S{1,100}[ \t]{1,4}login[ \t]{1,4}\S{1,100}[ \t]{1,4}password[ \t]{1,4}`, value: String.raw`[^\s"'\\]{3,}`, isCertain: true },
  // Addresses.
  { lead: String.raw`://[^\s:@/"']{0,100}:`, value: String.raw`(?!\d{1,5}/)[^\s@"'\\]{3,200}(?=@)`, isCertain: true },
  { lead: '://', value: String.raw`[A-Za-z0-9_-]{20,200}(?=@)`, isCertain: false },
  { lead: String.raw`hooks\.slack\.com/(?:services|workflows)/[A-Z0-9]{1,20}/[A-Z0-9]{1,20}/`, value: '[A-Za-z0-9/]{10,}', isCertain: true },
]; // prettier-ignore

/** A cheap look at whether there can be one at all, because a flood of text passes here. */
export const secretHint =
  /[sr]k[-_]|whsec|gh[pousr]_|github_pat|gl[a-z]{2,5}-|npm_|pypi-|rubygems|dckr_|xox|xapp|a[ks]ia|aiza|ya29|gocspx|eyj|hf_|do[opr]_v1|sg\.|:aa|hv[sbr]\.|shp|gsk_|lin_api|pscale|figd|nvapi|pplx|dapi|tfp|glsa|ntn|bearer|:\/\/|key|token|secret|pass|pwd|auth|sig|cred|cookie|mysql|curl|wget|http|machine|hooks/i;

/** Code that reads a secret from elsewhere, or says what kind of value one is. */
const code =
  /^(?:string|number|boolean|object|any|unknown|undefined|null|none|nil|true|false|required|optional|redacted|\[redacted\]|\*+|x+|\.+)[;)\]}]*$|[()[\]{}$]|^(?:this|self|process|os|env|config|options|settings|req|request|args|params|props|ctx|context)\.[a-z_]|^[a-z_]\w{0,2}\.[a-z_$][\w$]{0,40}[;,]*$/i;

/** Whether a value is one, and not the code that handles one. What is set as a variable of a shell is, however short. */
export function isSecretValue(value: string, isCertain: boolean, isSet = false): boolean {
  if (code.test(value)) return false;
  if (isCertain && isSet) return true;
  if (isCertain) return value.length >= 8 || /\d|[^A-Za-z0-9_;]/.test(value) || isMixed(value);
  return looksRandom(value);
}

/** Digits among letters, or letters whose case changes as in no name. */
function looksRandom(value: string): boolean {
  const text = value.replace(/[;,.]$/, '');
  return (/\d/.test(text) && /[a-z]/i.test(text) && !/^[\w-]*:\d+$/.test(text)) || isMixed(text);
}

function isMixed(value: string): boolean {
  return (value.match(/[a-z][A-Z]/g)?.length ?? 0) + (value.match(/[A-Z]{2}[a-z]/g)?.length ?? 0) >= 3;
}

/** A name of a field, or of a variable, whose value is a secret whatever it looks like. */
export const secretName =
  /(?:api[_-]?key|(?:access|secret|account|private)[_-]?key|(?:access|auth|refresh|session|id|security)[_-]?token|client[_-]?secret|pass(?:word|wd|phrase))$/i;
/** One whose value is a secret when it looks like chance. */
export const secretNameMaybe = /(?:token|secret|pwd|credentials?|authorization|cookie)$/i;
