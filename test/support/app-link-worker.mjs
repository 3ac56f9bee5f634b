// Runs inside a worker thread for test/native/app-link-threads.test.ts: opens a link with the addon itself, echoes every
// batch, and does what its name says. The addon is loaded directly, since a worker has no TypeScript.
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const { AppLink } = createRequire(import.meta.url)('../../build/Release/ringside.node');
const { socketPath, hello, behaviour } = workerData;

let batches = 0;
const link = new AppLink(socketPath, hello, {
  onOpen() {
    parentPort.postMessage('open');
    if (behaviour === 'unref') link.unref();
  },
  onData(slab, start, end) {
    batches++;
    if (behaviour === 'throw' && batches === 1) throw new Error('thrown by onData');
    link.write(slab, start, end);
    if (behaviour === 'exit') process.exit(7);
    if (behaviour === 'close') link.close();
  },
  onSpace() {},
  onClose(reason) {
    parentPort.postMessage(`close: ${reason}`);
  },
});
process.on('uncaughtException', (error) => parentPort.postMessage(`uncaught: ${error.message}`));
