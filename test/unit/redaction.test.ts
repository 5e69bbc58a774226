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

/** The same text in pieces that are cut at these places. */
function inPieces(text: string, cuts: readonly number[]): { shown: string; before: string } {
  const places = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
  const stream = new Redaction();
  const before = places.slice(1).map((end, index) => stream.push(text.slice(places[index], end))).join(''); // prettier-ignore
  return { shown: before + stream.flush(), before };
}

describe('redaction', () => {
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
