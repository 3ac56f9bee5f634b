// The header codec: against protobufjs where both must agree, against its own rules where protobufjs is laxer.
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import { decodeHeader, emptyHeader, encodeHeader } from '../../src/protocol/header.js';
import type { Header } from '../../src/protocol/header.js';
import { maxHeaderBytes } from '../../src/protocol/limits.js';
import { MalformedHeader } from '../../src/protocol/wire.js';

const schema = protobuf
  .parse(
    `syntax = "proto3"; message Header { string service = 1; string method = 2; string group = 3; string version = 4;
     string source_app = 5; string status_message = 6; string traceparent = 7; string tracestate = 8;
     string content_type = 9; string hash_key = 10; map<string, string> attachments = 11; }`,
  )
  .root.lookupType('Header');

// Keys of plain objects that JavaScript treats specially are tested on their own below.
const key = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !(text in Object.prototype));
const text = fc.string({ unit: 'grapheme', maxLength: 60 });
const headers = fc.record(
  {
    service: text,
    method: text,
    group: text,
    version: text,
    sourceApp: text,
    statusMessage: text,
    traceparent: text,
    tracestate: text,
    contentType: text,
    hashKey: text,
    attachments: fc.dictionary(key, text, { maxKeys: 10 }),
  },
  { requiredKeys: [] },
);

function plain(header: Header): object {
  return { ...header, attachments: { ...header.attachments } };
}

describe('against protobufjs', () => {
  test('what is encoded here is read there, and here', () => {
    fc.assert(
      fc.property(headers, (given) => {
        fc.pre(Buffer.byteLength(given.service ?? '') <= 256 && Buffer.byteLength(given.method ?? '') <= 256);
        const bytes = encodeHeader(given);
        const expected = { ...emptyHeader(), attachments: {}, ...given };
        expect(plain(decodeHeader(bytes))).toEqual(expected);
        expect(schema.toObject(schema.decode(bytes), { defaults: true, objects: true })).toEqual(expected);
      }),
    );
  });

  test('what is encoded there is read here', () => {
    fc.assert(
      fc.property(headers, (given) => {
        fc.pre(Buffer.byteLength(given.service ?? '') <= 256 && Buffer.byteLength(given.method ?? '') <= 256);
        const bytes = Buffer.from(schema.encode(schema.fromObject(given)).finish());
        expect(plain(decodeHeader(bytes))).toEqual({ ...emptyHeader(), attachments: {}, ...given });
      }),
    );
  });
});

describe('hostile bytes', () => {
  test('are a header or malformed, and what is read survives another round', () => {
    let accepted = 0;
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc.constantFrom(
        [0x0a, 1, 0x61],
        [0x5a, 6, 0x0a, 1, 0x6b, 0x12, 1, 0x76],
        [0x68, 0x01],
        [0x7d, 1, 2, 3, 4],
      ),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const bytes = Buffer.concat(pieces.map((part) => Buffer.from(part)));
        let header: Header;
        try {
          header = decodeHeader(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedHeader);
          return;
        }
        accepted += 1;
        expect(decodeHeader(encodeHeader(header))).toEqual(header);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test('every prefix of a header is a header or malformed, never another error', () => {
    const bytes = encodeHeader({ service: 'sërvice', hashKey: 'k', attachments: { a: 'b', ä: 'ö' } });
    for (let end = 0; end < bytes.length; end += 1) {
      try {
        decodeHeader(bytes, 0, end);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedHeader);
      }
    }
  });

  test('an attachment may be called __proto__ and is then only a key', () => {
    const given = Object.create(null) as Record<string, string>;
    given['__proto__'] = 'x';
    given['constructor'] = 'y';
    const { attachments } = decodeHeader(encodeHeader({ attachments: given }));
    expect(Object.entries(attachments!)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect(Object.getPrototypeOf(attachments)).toBeNull();
  });
});

describe('limits', () => {
  const entries = (count: number): Buffer =>
    Buffer.concat(Array.from({ length: count }, () => Buffer.from([0x5a, 3, 0x0a, 1, 0x6b])));

  test('64 attachment entries pass, 65 do not, even with one key', () => {
    expect(decodeHeader(entries(64)).attachments).toEqual({ k: '' });
    expect(() => decodeHeader(entries(65))).toThrow('more than 64 attachments');
  });

  test.each([
    [1, 'service'],
    [2, 'method'],
  ])('field %i takes 256 bytes and not 257', (field, name) => {
    const of = (length: number): Buffer =>
      Buffer.concat([
        Buffer.from([(field << 3) | 2, (length & 0x7f) | 0x80, length >> 7]),
        Buffer.alloc(length, 0x61),
      ]);
    expect(decodeHeader(of(256))[name as 'service']).toHaveLength(256);
    expect(() => decodeHeader(of(257))).toThrow(`${name} is over 256 bytes`);
    expect(() => encodeHeader({ [name]: 'a'.repeat(257) })).toThrow(RangeError);
  });

  test('16,384 bytes in all, and not one more', () => {
    const fits = encodeHeader({ hashKey: 'a'.repeat(maxHeaderBytes - 3) });
    expect(fits).toHaveLength(maxHeaderBytes);
    expect(decodeHeader(fits).hashKey).toHaveLength(maxHeaderBytes - 3);
    expect(() => encodeHeader({ hashKey: 'a'.repeat(maxHeaderBytes - 2) })).toThrow(RangeError);
  });
});
