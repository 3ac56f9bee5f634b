// What one run of vitest says in its JSON report, for the runners that add up several runs.
import { readFileSync } from 'node:fs';

/**
 * Reads what `--reporter=json` wrote. A file that could not even be loaded counts as one failed test.
 * @returns {{ passed: number, failed: number, skipped: number, files: number, failures: string[] }} `failures` has a text
 * for each failed test: its file, its name, what was wrong
 */
export function readVitestReport(file) {
  const { testResults, numPassedTests, numFailedTests, numPendingTests } = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  const failures = broken.map(({ name, message }) => `${name}\n${message}`);
  for (const { name, assertionResults } of testResults) {
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status === 'failed') failures.push(`${name}\n${fullName}\n${failureMessages.join('\n')}`);
    }
  }
  return {
    passed: numPassedTests,
    failed: numFailedTests + broken.length,
    skipped: numPendingTests,
    files: testResults.length,
    failures: failures.map((text) => text.slice(0, 2000)),
  };
}
