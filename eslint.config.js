// Lint rules for the whole repository: typescript-eslint's recommended set, with type information where a
// tsconfig covers the files. Layout is prettier's business; which folder may import which is checked by
// test/import-rules.test.ts.
import eslint from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

const typed = ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'];

const nodeGlobals = Object.fromEntries(
  [
    'process',
    'console',
    'Buffer',
    'URL',
    'performance',
    'AbortController',
    'AbortSignal',
    'TextDecoder',
    'TextEncoder',
    'fetch',
    'structuredClone',
    'queueMicrotask',
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'setImmediate',
    'clearImmediate',
  ].map((name) => [name, 'readonly']),
);

export default defineConfig(
  globalIgnores(['dist/', 'build/', 'build-*/', 'coverage/', 'node_modules/']),
  eslint.configs.recommended,
  tseslint.configs.recommended,
  { files: typed, extends: [tseslint.configs.recommendedTypeChecked] },
  {
    files: typed,
    languageOptions: {
      parserOptions: { project: ['tsconfig.json', 'test/tsconfig.json', 'bench/tsconfig.json'] },
    },
  },
  {
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-constant-condition': ['error', { checkLoops: false }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'Export by name, so that a thing is called the same everywhere.',
        },
      ],
    },
  },
  {
    files: typed,
    rules: {
      // An async function without await still turns what it throws into a rejection, which interfaces rely on.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
    },
  },
  { files: ['src/**/*.ts'], ignores: ['src/cli/**'], rules: { 'no-console': 'error' } },
  { files: ['*.config.{js,ts}', '**/*.config.{js,ts}'], rules: { 'no-restricted-syntax': 'off' } },
  { files: ['**/*.{js,mjs}'], languageOptions: { globals: nodeGlobals } },
);
