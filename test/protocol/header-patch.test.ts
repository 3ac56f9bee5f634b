// Patching encoded headers: what is changed, what must survive, and the limits that hold afterwards.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeHeader, encodeHeader } from '../../src/protocol/header.js';
import {
  appendHeaderField,
  removeAttachment,
  setAttachment,
  setAttachments,
} from '../../src/protocol/header-patch.js';
import { maxHeaderBytes } from '../../src/protocol/limits.js';
import { MalformedHeader } from '../../src/protocol/wire.js';

/** Unknown fields of all four wire types: numbers 12, 13, 14 and 15. */
const unknown = Buffer.from('60ff01690102030405060708720361ff627d01020304', 'hex');
const known = encodeHeader({ service: 's', method: 'm', attachments: { a: '1', b: '2' } });
const header = Buffer.concat([unknown.subarray(0, 3), known, unknown.subarray(3)]);

describe('appending a field', () => {
  test('wins over what was there and leaves every byte before it', () => {
    const patched = appendHeaderField(header, 3, 'canary');
    expect(patched.subarray(0, header.length)).toEqual(header);
    expect(decodeHeader(patched)).toEqual({ ...decodeHeader(header), group: 'canary' });
    expect(decodeHeader(appendHeaderField(patched, 3, '')).group).toBe('');
  });

  test('refuses other fields, long names, long headers and malformed ones', () => {
    expect(() => appendHeaderField(header, 0, 'x')).toThrow(RangeError);
    expect(() => appendHeaderField(header, 11, 'x')).toThrow(RangeError);
    expect(() => appendHeaderField(header, 1.5, 'x')).toThrow(RangeError);
    expect(() => appendHeaderField(header, 1, 'ü'.repeat(129))).toThrow(RangeError);
    expect(() => appendHeaderField(header, 10, 'x'.repeat(maxHeaderBytes - header.length))).toThrow(
      RangeError,
    );
    expect(() => appendHeaderField(Buffer.from([0x08, 1]), 3, 'x')).toThrow(MalformedHeader);
  });
});

describe('attachments', () => {
  test('are replaced as a whole, and the rest keeps its bytes and order', () => {
    const patched = setAttachments(header, { c: '3' });
    expect(decodeHeader(patched)).toEqual({ ...decodeHeader(header), attachments: { c: '3' } });
    const without = setAttachments(header, {});
    expect(without).toEqual(
      Buffer.concat([
        unknown.subarray(0, 3),
        encodeHeader({ service: 's', method: 'm' }),
        unknown.subarray(3),
      ]),
    );
  });

  test('one is removed with all its entries; unknown parts of the others stay', () => {
    const entry = Buffer.from('5a050a01633801', 'hex'); // key c and unknown field 7
    const twice = Buffer.concat([known, entry, encodeHeader({ attachments: { a: 'again' } })]);
    const patched = removeAttachment(twice, 'a');
    expect(decodeHeader(patched).attachments).toEqual({ b: '2', c: '' });
    expect(patched.includes(entry)).toBe(true);
    expect(removeAttachment(header, 'nowhere')).toEqual(header);
  });

  test('setting one over and over does not grow the header', () => {
    let patched: Buffer = header;
    for (let i = 0; i < 200; i += 1) patched = setAttachment(patched, 'a', String(i % 10));
    expect(patched).toHaveLength(header.length);
    expect(decodeHeader(patched).attachments).toEqual({ a: '9', b: '2' });
  });

  test('a 65th is refused', () => {
    const full = encodeHeader({
      attachments: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, ''])),
    });
    expect(() => setAttachment(full, 'more', '')).toThrow(RangeError);
    expect(Object.keys(decodeHeader(setAttachment(full, 'k0', 'v')).attachments!)).toHaveLength(64);
  });

  test('for any attachments: what is set is what is read', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string(), { maxKeys: 20 }), (attachments) => {
        const read = decodeHeader(setAttachments(header, attachments)).attachments ?? {};
        expect(Object.entries(read).sort()).toEqual(Object.entries(attachments).sort());
      }),
    );
  });
});
