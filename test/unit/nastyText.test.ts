import { describe, expect, it } from 'vitest';
import { Redaction, redact } from '../../src/base/redaction';
import { beginningOf, wellFormed } from '../../src/base/wellFormed';
import { mapNotification } from '../../src/codex/eventMapper';
import { unwrapShell } from '../../src/codex/shellCommand';
import { firstLine } from '../../src/core/boundedText';
import { describeQuestion } from '../../src/core/describeRequest';
import { matchesPattern } from '../../src/core/linearPattern';
import type { RequestQuestion } from '../../src/core/pendingRequest';
import { TaskDetails } from '../../src/core/taskDetails';
import { countLines, Transcript } from '../../src/core/transcript';
import type { WaitResult } from '../../src/core/waiting';
import { taskDetail, scoreboard } from '../../src/mcp/documents';
import { jsonBytes } from '../../src/mcp/fit';
import { taskResult } from '../../src/mcp/taskView';
import { innerCallOf } from '../../src/policy/innerArguments';
import { evaluate } from '../../src/policy/evaluate';
import { readPolicy } from '../../src/policy/readPolicy';
import { plainCommand } from '../../src/policy/plainCommand';
import { commandsIn } from '../../src/policy/shellWords';
import { parseStoredTask } from '../../src/store/storedTask';
import { noticeText } from '../../src/ui/notices';
import { OutputQueue } from '../../src/ui/outputQueue';
import { plainText, withoutLinks } from '../../src/ui/plainText';
import { requestText } from '../../src/ui/requestText';
import { detailsOf, requestTitle, taskDescription } from '../../src/ui/taskView';
import { base, command, pending } from '../fakes/snapshots';

/** A megabyte of each kind that was seen, or is known, to make a matcher go back and forth, or a parser nest. */
const size = 1024 * 1024;
const kinds: Readonly<Record<string, string>> = {
  'one letter': 'a',
  spaces: ' ',
  'line breaks': '\n',
  'carriage returns': '\r\n',
  digits: '1',
  backslashes: '\\',
  'double quotes': '"',
  'single quotes': "'",
  'opening brackets': '[',
  braces: '{',
  'command substitutions': '$(',
  'here-documents': '<<E\n',
  pipes: '|',
  'private keys': '-----BEGIN PRIVATE KEY-----',
  'web tokens': 'eyJ-',
  'word and equals': 'password = ',
  addresses: 'http://a:',
  'control characters': '\u001b[31m',
  'right to left': '\u202e',
  'lone surrogates': '\ud800',
  emoji: '👩‍👩‍👧',
  'JSON in JSON': '\\"',
  'moved files': '\nMoved to: ',
  'yaml keys': '- a: &a\n  ',
};

/** Passes a text through a place; gives what came out, all of it. */
type Place = (text: string) => unknown;

const asked = (question: RequestQuestion) => ({ task: base, request: pending(question) });
const file = (patch: string) => ({ path: '/ws/a', kind: 'update', patch }) as const;
const context = { now: 9_000, advice: { agentMayAccept: () => true, personPresent: true } };
const waited = { more: 0, shown: null, newAnswers: new Map(), timedOut: false, elsewhere: null };

/** One rule of each kind that looks at text, none of which ends the look. */
const rules = readPolicy(`version: "1"
tools:
  codex/command:
    rules:
      - conditions: [{ path: args.text, op: regex, value: "(a|b|ab)*(x+x+)+y" }]
      - conditions: [{ path: args.text, op: not_regex, value: "(?s).*" }]
      - conditions: [{ path: args.text, op: glob, value: "**/*a*a*a*z" }]
      - conditions: [{ path: args.command, op: contains, value: "no such text" }]
      - conditions: [{ path: args.programs, op: in, value: [no-such-program] }]
      - conditions: [{ path: args.text, op: lt, value: 7 }]
      - conditions: [{ path: args.text, op: under, value: ["/nowhere"] }]
`).policy!;
const circumstances = {
  base: '/ws',
  realPath: (path: string) => path,
  valueOf: () => 0,
  freeIn: () => 0,
};

function shownEverywhere(task: typeof base): unknown {
  const result: WaitResult = { ...waited, tasks: [task] };
  const bytes = jsonBytes(taskResult(task, result, context));
  expect(bytes).toBeLessThan(8_192);
  return [taskDetail(task, 1), scoreboard([task], [], 1), detailsOf(task), taskDescription(task, 1)];
}

function heard(events: readonly (readonly [method: string, params: object])[]): unknown {
  const [details, transcript] = [new TaskDetails(), new Transcript()];
  return events.flatMap(([method, params]) =>
    (mapNotification(method, params) ?? []).map((event) => {
      details.apply(event);
      return transcript.entry(event);
    }),
  );
}

const places: Readonly<Record<string, Place>> = {
  'the redaction of a whole text': redact,
  'the redaction of a stream': (text) => {
    const stream = new Redaction();
    const parts = text.match(/[^]{1,1000}/g) ?? [];
    return [...parts.map((part) => stream.push(part)), stream.flush()];
  },
  'the door of arguments and results': (text) => wellFormed({ [text.slice(0, 100)]: [text] }),
  'a prompt and a label': (text) => {
    const title = firstLine(redact(beginningOf(text, 10_000)), 80);
    return shownEverywhere({ ...base, title, labels: [text.slice(0, 100), text.slice(0, 100)] });
  },
  'an output, a message, a diff': (text) =>
    shownEverywhere({ ...base, outputTail: text, finalMessage: text, diff: text, lastCommand: text }),
  'a path': (text) =>
    shownEverywhere({ ...base, changedFiles: [{ path: text, kind: 'update', added: 1, removed: 1 }] }),
  'a command': (text) => [
    unwrapShell(`/bin/bash -lc ${text}`),
    unwrapShell(text),
    commandsIn(text),
    plainCommand(text),
  ],
  'a command that asks': (text) => {
    const question = command(text, text);
    const { request, task } = asked(question);
    const call = innerCallOf(question, '/ws');
    return [requestTitle(request, '/ws'), noticeText(asked(question), 3), requestText({ task, request }), call];
  },
  'a patch that asks': (text) => {
    const question = { type: 'file_approval', changes: [file(text)], reason: text } as unknown as RequestQuestion;
    return [
      describeQuestion(question, '/ws'),
      requestText(asked(question)),
      countLines(file(text)),
      innerCallOf(question, '/ws'),
    ];
  },
  'a form of an MCP server': (text) => [matchesPattern(text, text), matchesPattern('^(a+)+$', text)],
  'deltas and items of Codex': (text) =>
    heard([
      ['item/agentMessage/delta', { threadId: 't', turnId: 'u', itemId: 'i', delta: text }],
      ['item/commandExecution/outputDelta', { threadId: 't', turnId: 'u', itemId: 'c', delta: text }],
      ['turn/diff/updated', { threadId: 't', turnId: 'u', diff: text }],
      ['item/completed', { threadId: 't', turnId: 'u', item: { type: 'agentMessage', id: 'i', text } }],
      ['error', { threadId: 't', turnId: 'u', error: { message: text }, willRetry: false }],
    ]),
  'a policy': (text) => readPolicy(text),
  'the rules of a policy': (text) => {
    const call = innerCallOf(command(text, '/ws'), '/ws');
    return evaluate(rules, { tool: call?.tool ?? '', args: { ...call?.args, text }, tasks: [] }, circumstances);
  },
  'a file of the store': (text) => {
    const meta = JSON.stringify({ ...base, version: 1, title: text });
    try {
      return parseStoredTask(meta, text, text);
    } catch (error) {
      return String(error);
    }
  },
  'what the editor shows': (text) => {
    const queue = new OutputQueue();
    for (let at = 0; at < text.length; at += 10_000) queue.push(text.slice(at, at + 10_000));
    return [plainText(text), withoutLinks(text), queue.take('/log')];
  },
};

/** Much more than the longest of the figures below; a place that is not linear takes hours. */
const limitMs = 60_000;

describe.each(Object.entries(places))('a megabyte of text in %s', (_name, place) => {
  it.each(Object.entries(kinds))('of %s is taken whole or refused, and comes out bounded', (_kind, unit) => {
    const end = 'the end';
    const text = `${unit.repeat(Math.ceil(size / unit.length)).slice(0, size - end.length)}${end}`;
    const out = JSON.stringify(place(text));
    expect(out.length).toBeGreaterThan(0);
    // Escaped, and in several forms at once: but never text that multiplies itself.
    expect(out.length).toBeLessThan(60 * size);
  }, limitMs); // prettier-ignore
});
