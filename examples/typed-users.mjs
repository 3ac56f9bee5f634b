// Typed calls with protobufjs: protobufHandlers on the serving side, rpcImpl on the calling side.
import { connect, protobufHandlers, serve } from '@ringside/mesh';
import protobuf from 'protobufjs';

const source = `
  syntax = "proto3";
  package shop;
  message Id { uint32 id = 1; }
  message User { uint32 id = 1; string name = 2; }
  service Users { rpc GetUser (Id) returns (User); }
`;
const Users = protobuf.parse(source).root.lookupService('shop.Users');

const server = await serve({
  mesh: false,
  service: 'user-service',
  methods: protobufHandlers(Users, { GetUser: ({ id }) => ({ id, name: `user ${id}` }) }),
});
const client = await connect({ mesh: false, endpoints: { 'user-service': [server.address] } });

const users = Users.create(client.rpcImpl('user-service', { timeoutMs: 500 }));
const user = await users.getUser({ id: 7 });
console.log(user.name);

await client.close();
await server.close();
