/** The list of ops agents that a rollout drives (hosts.yaml). */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { errorText } from '../base/errors.js';
import { checkDocument, readConfigText } from '../config/check-document.js';
import { ConfigError } from '../config/config-error.js';
import { field } from '../config/field.js';
import type { OpsAddress } from '../ops/ops-client.js';

const path = z.string().refine((text) => text.length > 0 && !text.includes('\0'));
const tokenText = z.string().regex(/^[\x21-\x7e]{1,256}$/);

const token = () =>
  field(tokenText.optional(), 'visible ASCII characters', { means: 'Token of the ops agent.', secret: true });
const tokenFile = () => field(path.optional(), 'a path', { means: 'File with the token.' });

const target = z.strictObject({
  name: field(
    z
      .string()
      .regex(/^[\x21-\x7e]{1,200}$/)
      .optional(),
    '1 to 200 visible ASCII characters',
    { means: 'How it is called; without it, its url or socket.' },
  ),
  url: field(z.url({ protocol: /^https?$/ }).optional(), 'an http or https URL', {
    means: 'Where its port is.',
  }),
  socket: field(path.optional(), 'a path', { means: 'Its unix socket, on this machine.' }),
  token: token(),
  tokenFile: tokenFile(),
});

/** The file, as it is read. */
export const targetsSchema = z.strictObject({
  token: token(),
  tokenFile: tokenFile(),
  targets: z.array(target).min(1).max(10_000),
});

export interface Target {
  name: string;
  address: OpsAddress;
}

/** @throws {ConfigError} if it cannot be read or used */
export function loadTargets(file: string): Target[] {
  return parseTargets(readConfigText(file), file, dirname(file));
}

/**
 * @param base what relative paths start from
 * @throws {ConfigError} if it cannot be used
 */
export function parseTargets(text: string, source: string, base: string): Target[] {
  const { data, at } = checkDocument(text, source, targetsSchema);
  const wrong: { field: string; text: string }[] = [];
  const refuse = (name: string, why: string): void => {
    wrong.push({ field: name, ...at(name.split('.')), text: why });
  };
  const tokenOf = (
    from: { token?: string | undefined; tokenFile?: string | undefined },
    name: string,
  ): string | undefined => {
    if (from.token !== undefined || from.tokenFile === undefined) return from.token;
    try {
      return tokenText.parse(readFileSync(resolve(base, from.tokenFile), 'utf8').trim());
    } catch (error) {
      refuse(name, `${from.tokenFile} cannot be used: ${errorText(error)}`);
      return undefined;
    }
  };

  const common = tokenOf(data, 'tokenFile');
  const names = new Set<string>();
  const targets = data.targets.map(({ url, socket, ...one }, i): Target => {
    const place = `targets.${i}`;
    if ((url === undefined) === (socket === undefined)) refuse(place, 'allowed: either url or socket');
    const name = one.name ?? url ?? socket ?? place;
    if (names.has(name)) refuse(place, `comes twice: ${name}`);
    names.add(name);
    if (url === undefined) return { name, address: { socket: resolve(base, socket ?? '') } };
    const secret = tokenOf(one, `${place}.tokenFile`) ?? common;
    if (secret === undefined)
      refuse(place, 'found a url without a token, allowed: token or tokenFile, here or for all');
    return { name, address: { url, token: secret ?? '' } };
  });
  if (wrong.length > 0) throw new ConfigError(source, wrong);
  return targets;
}
