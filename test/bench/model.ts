import { startScriptedModel } from '../../src/demo/scriptedModel';

/** The scripted model in a process of its own, so that it does not load the one that is measured. */
const model = await startScriptedModel();
process.stdout.write(`${model.url}\n`);
process.stdin.on('end', () => void model.close()).resume();
