// protobufjs services on both ends: a reflected service called through rpcImpl, served by protobufHandlers.
import protobuf from 'protobufjs';
import { afterEach, expect, test } from 'vitest';
import { MeshError, connect, protobufHandlers, serve } from '../../src/index.js';
import type { Client, Server } from '../../src/index.js';

const users = protobuf
  .parse(
    `syntax = "proto3"; package shop; message Id { uint64 id = 1; } message User { uint64 id = 1; string name = 2; }
     service Users { rpc GetUser (Id) returns (User); rpc Fail (Id) returns (User); }`,
  )
  .root.lookupService('shop.Users');

const closing: (Client | Server)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((one) => one.close()));
});

test('a typed call and its failures', async () => {
  const server = await serve({
    mesh: false,
    service: 'user-service',
    methods: protobufHandlers(users, {
      GetUser: ({ id }: { id: string }) => ({ id, name: `user ${id}` }),
      Fail: () => {
        throw new MeshError('NOT_FOUND', 'nobody');
      },
    }),
  });
  closing.push(server);
  const client = await connect({ mesh: false, endpoints: { 'user-service': [server.address!] } });
  closing.push(client);
  const service = users.create(
    client.rpcImpl('user-service', { timeoutMs: 1000 }),
    false,
    false,
  ) as unknown as {
    getUser(request: object): Promise<{ name: string }>;
    fail(request: object): Promise<unknown>;
    end(): void;
  };
  expect((await service.getUser({ id: 7 })).name).toBe('user 7');
  await expect(service.fail({ id: 7 })).rejects.toMatchObject({ status: 'NOT_FOUND', message: 'nobody' });
  await expect(client.call('user-service', 'GetUser', Buffer.from([0x0a, 9]))).rejects.toMatchObject({
    status: 'INVALID_ARGUMENT',
    message: expect.stringContaining('the body is no Id') as string,
  });
  service.end();
  expect((await client.call('user-service', 'GetUser', '')).body.length).toBeGreaterThan(0);
});

test('an implementation of a method that the service lacks is refused', () => {
  expect(() => protobufHandlers(users, { Drop: () => ({}) })).toThrow('has no method Drop');
});
