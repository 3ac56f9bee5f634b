// The package's install script in a package of its own: builds, keeps what is fresh, builds again what is not, and a
// machine without a compiler still installs.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tinyAddon = `#include <napi.h>
static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("answer", Napi::Number::New(env, 42));
  return exports;
}
NODE_API_MODULE(ringside, init)
`;

describe('native/install.mjs', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'ringside-install-'));
    mkdirSync(path.join(folder, 'native', 'port'), { recursive: true });
    copyFileSync(path.join(root, 'native', 'install.mjs'), path.join(folder, 'native', 'install.mjs'));
    copyFileSync(path.join(root, 'binding.gyp'), path.join(folder, 'binding.gyp'));
    symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    writeFileSync(path.join(folder, 'native', 'addon.cc'), tinyAddon);
    writeFileSync(path.join(folder, 'native', 'port', 'none_port.cc'), '');
    writeFileSync(path.join(folder, 'native', 'sources.txt'), '');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function install(
    args: string[] = [],
    env: NodeJS.ProcessEnv = {},
  ): { status: number | null; output: string } {
    const script = path.join(folder, 'native', 'install.mjs');
    const done = spawnSync(process.execPath, [script, ...args], {
      env: { ...process.env, RINGSIDE_REQUIRE_ADDON: '0', ...env },
      encoding: 'utf8',
    });
    return { status: done.status, output: done.stdout + done.stderr };
  }

  it('builds, keeps a fresh build, and renews a stale one', { timeout: 120_000 }, () => {
    expect(install(['--require'])).toMatchObject({ status: 0 });
    const built = path.join(folder, 'build', 'Release', 'ringside.node');
    expect(createRequire(import.meta.url)(built)).toMatchObject({ answer: 42 });

    expect(install().output).toBe('ringside: the native addon is up to date\n');

    const future = new Date(Date.now() + 60_000);
    utimesSync(path.join(folder, 'native', 'addon.cc'), future, future);
    const again = install();
    expect(again.status).toBe(0);
    expect(again.output).toContain('addon.o');
  });

  it(
    'lets the installation go on without a compiler, unless the addon is required',
    { timeout: 120_000 },
    () => {
      const noCompiler = { CC: '/bin/false', CXX: '/bin/false' };
      const lenient = install([], noCompiler);
      expect(lenient.status).toBe(0);
      expect(lenient.output).toContain('the native addon was not built');
      expect(lenient.output).toContain('npm run build:native');
      expect(install(['--require'], noCompiler).status).toBe(1);
      expect(install([], { ...noCompiler, RINGSIDE_REQUIRE_ADDON: '1' }).status).toBe(1);
    },
  );
});
