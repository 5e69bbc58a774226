import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redact, redactJson, Redaction } from '../../src/base/redaction';

const jwt = `eyJ${'a'.repeat(20)}.${'b'.repeat(30)}.${'c'.repeat(20)}`;
const key = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIabc+/=\n'.repeat(60)}-----END RSA PRIVATE KEY-----`;

/** A text and what is shown of it. */
const cases: readonly (readonly [string, string])[] = [
  [`key sk-proj-${'x1'.repeat(15)} end`, 'key [redacted] end'],
  [`ghp_${'A1'.repeat(18)}`, '[redacted]'],
  [`Authorization: Bearer ${'tok.en-'.repeat(4)}`, 'Authorization: Bearer [redacted]'],
  [`"token":"${jwt}"`, '"token":"[redacted]"'],
  ['AWS AKIAIOSFODNN7EXAMPLE.', 'AWS [redacted].'],
  ['https://user:hunter22@example.com/x', 'https://user:[redacted]@example.com/x'],
  ['export API_KEY=abcdefgh12345', 'export API_KEY=[redacted]'],
  ["password: 'correct-horse'", "password: '[redacted]'"],
  [String.raw`{"text":"password: \"correcthorse x\""}`, String.raw`{"text":"password: \"[redacted] x\""}`],
  // In JSON a line break ends with a letter.
  [String.raw`{"text":"a\nghp_${'A1'.repeat(18)}\n"}`, String.raw`{"text":"a\n[redacted]\n"}`],
  [String.raw`-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----`, '[redacted]'],
  [`before\n${key}\nafter`, 'before\n[redacted]\nafter'],
  [`${key}\n${key}`, '[redacted]\n[redacted]'],
  ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n', '[redacted]'],
  ['-----BEGIN PRIVATE KEY-----\nMII\n{"a":1}', '[redacted]{"a":1}'],
  // Whatever a program puts around the lines of a key.
  ['"-----BEGIN PRIVATE KEY-----\\n" +\n  "MIIEvQIBADANBgkqhkiG9w0BAQ\\n" +\n  "-----END PRIVATE KEY-----"', '"[redacted]"'],
  ['# -----BEGIN PRIVATE KEY-----\n# MIIEvQIBADANBgkqhkiG9w0BAQ\n# -----END PRIVATE KEY-----\n', '# [redacted]\n'],
  ['-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nProse follows here.', '[redacted]Prose follows here.'],
  [String.raw`{"private_key":"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC`, '{"private_key":"[redacted]'],
  ['It begins with -----BEGIN PRIVATE KEY----- and so it is a key. All is well.', 'It begins with [redacted] and so it is a key. All is well.'],
  ['-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2 (GNU/Linux)\n\nlQdGBFabcdefghijklmnop\n-----END PGP PRIVATE KEY BLOCK-----', '[redacted]'],
  ['-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----', '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----'],
  ['nothing here, not even a key or a token', 'nothing here, not even a key or a token'],
  ['task-sk-1 desk-lamp npm_config_registry=x', 'task-sk-1 desk-lamp npm_config_registry=x'],
  ['', ''],
]; // prettier-ignore

/** Made up, and the same at each run: no two equal characters in a row. */
function chance(length: number, alphabet = 'aB3cD4eF5gH6jK7mN8pQ9rS2tV', seed = length): string {
  return Array.from(
    { length },
    (_, index) => alphabet[(index * 7 + seed * 3 + (index % 5) * 11) % alphabet.length],
  ).join('');
}
const hex = '0123456789abcdef';
const upper = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** What stands before a secret, the secret, and what stands behind it. */
const announcedSecrets: readonly (readonly [before: string, secret: string, after?: string])[] = [
  ['', `sk-proj-${chance(40)}`], ['', `sk-ant-api03-${chance(80)}`], ['', `sk_live_${chance(24)}`], ['', `rk_test_${chance(24)}`], ['', `whsec_${chance(32)}`], ['', `ghs_${chance(36)}`], ['', `github_pat_${chance(22)}_${chance(59)}`], ['', `glpat-${chance(20)}`], ['', `glrt-${chance(20)}`], ['', `npm_${chance(36)}`], ['', `pypi-AgEIcHlwaS5vcmc${chance(60)}`], ['', `dckr_pat_${chance(27)}`], ['', `xoxb-${chance(12, '0123456789')}-${chance(24)}`], ['', `xapp-1-${chance(10)}-${chance(12)}-${chance(60)}`], ['', `AKIA${chance(16, upper)}`], ['', `AIza${chance(35)}`], ['', `ya29.${chance(60)}`], ['', `GOCSPX-${chance(28)}`], ['', `hf_${chance(34)}`], ['', `dop_v1_${chance(64, hex)}`], ['', `SG.${chance(22)}.${chance(43)}`], ['', `AGE-SECRET-KEY-1${chance(58, upper)}`], ['', `${chance(9, '123456789')}:AA${chance(33)}`], ['', `hvs.${chance(40)}`], ['', `gsk_${chance(50)}`],
  ['AWS_SECRET_ACCESS_KEY=', chance(40)], ['aws_secret_access_key = ', chance(40)], ['AWS_SESSION_TOKEN=', chance(120)], ['Authorization: Bearer ', chance(40)], ['Authorization: Basic ', `${chance(27)}=`], ['Authorization: token ', chance(40)], ['bearer\t', chance(32)],
  ['postgres://user:', chance(16), '@db/x'], ['postgres://user:', `${chance(6)}/${chance(8)}`, '@db/x'], ['https://', chance(40), '@github.com/a/b'], ['redis://:', chance(16), '@h:1'],
  ['MY_TOKEN=', chance(32)], ['APP_SECRET=', chance(32)], ['SECRET_KEY=', chance(40)], ['secret: ', chance(32)], ['DB_PASSWORD=', chance(16)], ['DB_PASSWORD=', chance(7)],
  ['DB_PASSWORD=', 'hunterx'], ['PASSWD=', chance(12)], ['PGPASSWORD=', chance(12)], ['password=', `a;${chance(14)}`], ["password: '", chance(14), "'"], ['pass: ', chance(16)], ['Pwd=', chance(16)], ['{"password":"', chance(16), '"}'], ['{"apiKey":"', chance(32), '"}'], [String.raw`{"text":"{\"apiKey\":\"`, chance(32), String.raw`\"}"}`], ['password：', chance(16)], ['the password is ', chance(16)], ['API key: ', chance(32)], ['x-api-key: ', chance(32)], ['CLIENT_SECRET=', chance(32)], ['AccountKey=', `${chance(86)}==`], ['?sv=2022&sig=', chance(43)], ['client-key-data: ', chance(80)], ['token: ', chance(80)],
  ['//registry.example/:_authToken=', chance(36)], ['//r/:_auth=', chance(36)], ['npm config set //x/:_password=', chance(30)], ['"auth": "', `${chance(27)}=`, '"'], ['Cookie: session=', chance(40)], ['Set-Cookie: theme=dark; sid=', chance(40), '; Path=/'], ['machine h login u password ', chance(16)], ['mysql -uroot -p', chance(14)],
  ['mysqldump -p', chance(14)],
  ['curl -u user:', chance(14), ' https://x'], ['curl -s -u user:', chance(14), ' https://x'], ['https://hooks.slack.com/services/T00000000/B00000000/', chance(24)],
]; // prettier-ignore

/** What looks a little like a secret and has to stay readable. */
const harmless: readonly string[] = [
  'commit 3f786850e387550fdab836ed7e6dc881de23001b', 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=', '"integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="', '550e8400-e29b-41d4-a716-446655440000', `data:image/png;base64,${'iVBORw0KGgoAAAANSUhEUgAA/eyJ+AIza'.repeat(20)}`,
  'const token = getToken();', 'password: string;', 'password = process.env.PASSWORD', 'let secret = await vault.read(path)', 'apiKey: config.apiKey,', 'token: ${{ secrets.GITHUB_TOKEN }}', 'e.token=t.getToken(),a.password=b,n.secret=r.clientSecret', 'function f(token,secret){return token+secret}', 'max_tokens: 100000', '"total_tokens":20048,"input_tokens":19926', 'tokens: 123456789012', 'password: undefined', 'PASSWORD=$DB_PASSWORD', 'password: <your password>', 'token: number | null', 'auth: authenticateUser', 'the key is lost', 'the token is expired', 'author: somebody', 'design=x', 'git@github.com:org/repo.git', 'http://localhost:4873/@scope/pkg', 'https://user@example.com/x', 'docker run -u 1000:1000 x', 'ls -p', 'mysql --help', 'cookie: string', 'bearer of bad news', 'basic authentication', 'sk-learn and desk-top', 'task-sk-1',
]; // prettier-ignore

/** The same text in pieces that are cut at these places. */
function inPieces(text: string, cuts: readonly number[]): { shown: string; before: string } {
  const places = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
  const stream = new Redaction();
  const before = places.slice(1).map((end, index) => stream.push(text.slice(places[index], end))).join(''); // prettier-ignore
  return { shown: before + stream.flush(), before };
}

describe('redaction', () => {
  it.each(announcedSecrets)('of %j %j', (before, secret, after = '') => {
    for (const end of ['', '\n', ' and more']) {
      const text = `x ${before}${secret}${after}${end}`;
      expect(redact(text)).toBe(`x ${before}[redacted]${after}${end}`);
      for (const size of [1, 3, 7]) {
        const cuts = Array.from({ length: Math.floor(text.length / size) }, (_, index) => index * size);
        expect([size, inPieces(text, cuts).shown]).toEqual([size, redact(text)]);
      }
    }
    expect(redact(JSON.stringify({ text: `a\n${before}${secret}${after}` }))).not.toContain(secret);
  });

  it.each(harmless)('leaves %j', (text) => {
    expect(redact(text)).toBe(text);
    expect(redact(`x\n${text}\ny`)).toBe(`x\n${text}\ny`);
  });

  it.each(cases)('of %j', (text, shown) => {
    expect(redact(text)).toBe(shown);
    expect(redact(shown)).toBe(shown);
  });

  it.each(cases)('of %j in pieces is the same', (text, shown) => {
    for (let size = 1; size < 12; size++) {
      const cuts = Array.from({ length: Math.floor(text.length / size) }, (_, index) => index * size);
      expect([size, inPieces(text, cuts).shown]).toEqual([size, shown]);
    }
  });

  it('of any text around secrets in any pieces shows no secret', () => {
    const secret = fc.constantFrom(`ghp_${'A1'.repeat(18)}`, jwt, `sk-${'k'.repeat(40)}`);
    const around = fc.string({ unit: fc.constantFrom('a', ' ', '\n', '"', ',', '=', '-----BEGIN ', 'key', '日'), maxLength: 40 });
    fc.assert(
      fc.property(around, secret, around, fc.array(fc.nat()), (left, hidden, right, cuts) => {
        const text = `${left} ${hidden}\n${right}`;
        const { shown } = inPieces(text, cuts);
        expect(shown).not.toContain(hidden);
        expect(shown).toContain('[redacted]');
      }),
    );
  }); // prettier-ignore

  it('holds back no more than the last word, and a whole line not at all', () => {
    const stream = new Redaction();
    expect([stream.push('step 1 of 600\n'), stream.push('a wo'), stream.push('rd and '), stream.flush()]).toEqual([
      'step 1 of 600\n',
      'a ',
      'word and ',
      '',
    ]);
  });

  it('lets a word go that is longer than any token', () => {
    const stream = new Redaction();
    const shown = Array.from({ length: 30 }, () => stream.push('x'.repeat(1_000))).join('');
    expect(shown.length).toBeGreaterThan(20_000);
    expect(shown.length + stream.flush().length).toBe(30_000);
  });

  it('cuts long JSON on one line between its parts', () => {
    const json = `{"a":"${'x'.repeat(3_000)}","b":"${'y'.repeat(1_050)}","password":"correct-horse-battery"}`;
    for (let size = 500; size < 560; size++) {
      expect(inPieces(json, [size, size * 2, 4_090, 4_100, 4_105]).shown).not.toContain('battery');
    }
  });

  it('cuts a long run before its last word', () => {
    const run = '='.repeat(4_080);
    for (let size = 4_075; size < 4_130; size++) {
      expect(inPieces(`${run}sk-${'a'.repeat(40)} end`, [size]).shown).not.toMatch(/a{15}/);
    }
  });

  it('of JSON takes names and numbers too', () => {
    expect(redactJson({ [`x ghp_${'A1'.repeat(18)}`]: 1, password: 12345678901, count: 12345678901 })).toEqual({
      'x [redacted]': 1,
      password: '[redacted]',
      count: 12345678901,
    });
  });

  it('of JSON changes values only, and nothing that holds no secret', () => {
    const plain = { a: [1, null, 'x'], b: { c: 'some text that is longer' } };
    expect(redactJson(plain)).toBe(plain);
    expect(redactJson({ password: 'hunter2222', cwd: '/x/password=abcdefgh', list: [`x ${jwt}`] }, (name) => name === 'cwd'))
      .toEqual({ password: '[redacted]', cwd: '/x/password=abcdefgh', list: ['x [redacted]'] });
  }); // prettier-ignore
});
