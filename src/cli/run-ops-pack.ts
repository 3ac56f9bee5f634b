// `ringside ops pack`: an archive of a version for ops agents, with what `ringside upgrade` asks for. Exit codes: 0 it is there, 1 it could not be built,
// 2 the options cannot be.
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errorText } from '../base/errors.js';
import { versionName } from '../ops/api.js';
import { pack } from '../ops/pack.js';
import { signatureOf } from '../ops/signature.js';
import { ownPackage } from '../ops/versions.js';
import { ExitError } from './exit-error.js';
import { print, printJson } from './output.js';

export interface PackCommandOptions {
  output?: string;
  name?: string;
  sign?: string;
  json?: boolean;
}

export async function runOpsPack(directory: string | undefined, options: PackCommandOptions): Promise<void> {
  const { output, name, sign, json } = options;
  const wrong = name === undefined ? undefined : versionName.safeParse(name).error?.issues[0]?.message;
  if (wrong !== undefined) throw new ExitError(`--name: ${wrong}`, 2);
  // Before anything is built.
  const key = sign === undefined ? undefined : ed25519In(sign);
  const packed = await pack({
    directory: directory ?? ownPackage,
    ...(name === undefined ? {} : { name }),
    ...(output === undefined ? {} : { output }),
  }).catch((error: unknown) => {
    throw new ExitError(`no archive could be built: ${errorText(error)}`, 1);
  });
  const signature = key === undefined ? undefined : signatureOf(packed.version, packed.sha256, key);
  if (json) {
    printJson({ ...packed, ...(signature && { signature }) });
    return;
  }
  const { archive, version, sha256, bytes, packages } = packed;
  const lines = [
    `${archive}: version ${version} with ${packages} packages, ${(bytes / 1024 / 1024).toFixed(1)} MiB`,
    `sha256 ${sha256}`,
    ...(signature === undefined ? [] : [`signature ${signature}`]),
    '',
    'Where it lies for the ops agent, a path or a URL, is the source:',
    `  ringside upgrade --version ${version} --source ${archive} --sha256 ${sha256}${signature === undefined ? '' : ` --signature ${signature}`}`,
  ];
  print(lines.join('\n'));
}

function ed25519In(file: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(file));
  } catch (error) {
    throw new ExitError(`--sign: ${file} cannot be used: ${errorText(error)}`, 2);
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new ExitError(`--sign: ${file} is no ed25519 private key`, 2);
  return key;
}
