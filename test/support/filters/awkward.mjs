// A user's filter that does everything wrong, by method: for the tests of what a filter can do to its own requests and must
// not do to others. Loaded by agents.

import { existsSync, writeFileSync } from 'node:fs';

const spinMs = 2_000;
const gate = process.env.TEST_GATE;
const nobody = new Int32Array(new SharedArrayBuffer(4));

const awkward = {
  name: 'awkward',
  onRequest({ method }) {
    switch (method) {
      case 'throw':
        throw new Error('the filter fell over');
      case 'reject-promise':
        return Promise.reject(new Error('the filter fell over later'));
      case 'never':
        return new Promise(() => undefined);
      case 'unknown-status':
        return { reject: { status: 'NO_SUCH_STATUS', message: 'x' } };
      case 'status-ok':
        return { reject: { status: 'OK', message: 'x' } };
      case 'no-message':
        return { reject: { status: 'ABORTED' } };
      case 'long-message':
        return { reject: { status: 'ABORTED', message: 'long '.repeat(10_000) } };
      case 'wrong-attachment':
        return { attachments: { count: 7 } };
      case 'wrong-route':
        return { route: { group: 7 } };
      case 'huge-attachment':
        return { attachments: { huge: 'x'.repeat(20_000) } };
      case 'wrong-answer':
        return 'pass';
      case 'spin': {
        // Holds the agent's main thread; says when, on the clock that all processes of a machine share.
        const beginUs = process.hrtime.bigint() / 1_000n;
        while (process.hrtime.bigint() / 1_000n - beginUs < spinMs * 1_000);
        const endUs = process.hrtime.bigint() / 1_000n;
        return { reject: { status: 'ABORTED', message: JSON.stringify([Number(beginUs), Number(endUs)]) } };
      }
      case 'hold':
        // Holds it until the test opens the gate.
        writeFileSync(`${gate}.held`, '');
        while (!existsSync(gate)) Atomics.wait(nobody, 0, 0, 5);
        return undefined;
      default:
        return undefined;
    }
  },
};

export { awkward as default };
