import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { writeCodexHome } from '../../src/demo/codexHome';
import type { CodexRig } from './codexRig';

/**
 * What the Agent Host of VS Code 1.139.1 needs to run its harnesses without a sign-in: a stand-in for Copilot's service that
 * passes on to the scripted model, settings, and an environment. Seen to work with the harnesses Copilot and Codex.
 */
export interface AgentHostRig {
  readonly env: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Runs a command in the extension host; rejects when it does not end within 20 s. */
  run(command: string, ...args: readonly unknown[]): Promise<unknown>;
  close(): Promise<void>;
}

const root = join(import.meta.dirname, '../..');

export async function startAgentHostRig(rig: CodexRig): Promise<AgentHostRig> {
  const service = createServer((incoming, response) => serve(incoming, response, rig.model.url));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
  // The harness is a client of ours, and no task: its Codex has a home of its own.
  const codexHome = join(rig.codexHome, 'of-the-harness');
  await writeCodexHome(codexHome, { modelUrl: rig.model.url });
  const driver = join(rig.dir, 'driver.sock');
  return {
    env: {
      LAB_DRIVER: driver,
      COPILOT_HOME: join(rig.dir, 'copilot-home'),
      COPILOT_DEBUG_GITHUB_API_URL: url,
      VSCODE_AGENT_HOST_CAPI_URL_OVERRIDE: url,
      COPILOT_API_URL: url,
    },
    settings: {
      'chat.editor.preferCopilotHarness': true,
      'chat.defaultToCopilotHarness': true,
      'chat.agentHost.allowSignedOutWhenUsable': true,
      'chat.agentHost.unsafeTestToken': 'gho_lab',
      'chat.agentHost.codexAgent.enabled': true,
      'chat.editor.codex.preferAgentHost': true,
      'chat.agentHost.codexAgent.sdkRoot': root,
      'chat.agentHost.codexAgent.codexHome': codexHome,
    },
    run: (command, ...args) => drive(driver, { command, args }),
    close: () =>
      new Promise((resolve) => {
        service.close(() => resolve());
        service.closeAllConnections();
      }),
  };
}

const model = {
  ...{ id: 'gpt-5', name: 'GPT-5 (lab)', object: 'model', vendor: 'OpenAI', version: 'gpt-5', preview: false },
  ...{ model_picker_enabled: true, model_picker_category: 'versatile', is_chat_default: true, is_chat_fallback: true },
  billing: { is_premium: false, multiplier: 0 },
  policy: { state: 'enabled', terms: '' },
  supported_endpoints: ['/responses'],
  capabilities: {
    ...{ family: 'gpt-5', object: 'model_capabilities', type: 'chat', tokenizer: 'o200k_base' },
    limits: { max_context_window_tokens: 128_000, max_output_tokens: 16_000, max_prompt_tokens: 100_000 },
    supports: { streaming: true, tool_calls: true, parallel_tool_calls: true, structured_outputs: true, vision: false },
  },
};

const far = 9_999_999_999;

function answerTo(path: string, base: string): object | null {
  if (path.endsWith('/models')) return { data: [model], object: 'list' };
  if (path.endsWith('/models/session')) {
    return { available_models: ['gpt-5'], selected_model: 'gpt-5', session_token: 'x', expires_at: far };
  }
  if (path.endsWith('_ping')) return {};
  if (path.endsWith('/user')) {
    return {
      ...{ login: 'lab', access_type_sku: 'plus_yearly_subscriber_quota', copilot_plan: 'individual_pro' },
      ...{ chat_enabled: true, can_signup_for_limited: false, analytics_tracking_id: 'x' },
      ...{ assigned_date: '2026-01-01', organization_list: [], quota_reset_date: '2027-01-01', quota_snapshots: {} },
      endpoints: { api: base, proxy: base, telemetry: base, 'origin-tracker': base },
      token: 'x',
    };
  }
  if (path.endsWith('token')) {
    const token = 'tid=x;exp=9999999999;sku=plus_yearly;';
    return { token, expires_at: far, refresh_in: 1_500, chat_enabled: true, endpoints: { api: base }, sku: 'plus_yearly' };
  }
  return null;
} // prettier-ignore

function serve(incoming: IncomingMessage, response: ServerResponse, modelUrl: string): void {
  const path = new URL(incoming.url ?? '/', 'http://x').pathname;
  if (path.endsWith('/responses')) {
    const passed = request(`${modelUrl}/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    passed.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 500, { 'content-type': answer.headers['content-type'] ?? '' });
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    response.on('close', () => passed.destroy());
    incoming.pipe(passed);
    return;
  }
  // What it says does not matter here.
  incoming.resume();
  const answer = answerTo(path, `http://${incoming.headers.host ?? ''}`);
  response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer ?? { message: 'not here' }));
}

function drive(socketPath: string, body: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.timeout(20_000);
    const call = request({ socketPath, method: 'POST', path: '/', signal: limit }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { result, error } = JSON.parse(text) as { result?: unknown; error?: string };
        if (error === undefined) resolve(result);
        else reject(new Error(error));
      });
    });
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}
