// Three projects, one after the other (`groupOrder`). Files of `unit` and of `e2e` share the machine: whatever they use is theirs alone (directories,
// ports, names), and what they expect comes at any speed. `e2e-alone` holds the end-to-end tests that watch what a process uses or how evenly it works.
import { defineConfig } from 'vitest/config';

const alone = ['many-calls', 'flows'].map((name) => `test/e2e/${name}.test.ts`);
/** They wait more than half of their time. */
const endToEndFilesAtOnce = 3;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          // Properties compute for seconds on a machine that does other things as well.
          testTimeout: 30_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: endToEndFilesAtOnce,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'e2e-alone',
          include: alone,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
