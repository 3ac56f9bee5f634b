// What a service in Node does without a mesh, first kind: a unary gRPC call of @grpc/grpc-js, bytes in and out, one channel.
import {
  Client,
  Server,
  ServerCredentials,
  credentials,
  type ChannelOptions,
  type MethodDefinition,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import type { Endpoint } from './endpoint.js';

const same = (bytes: Buffer): Buffer => bytes;
const echo = {
  path: '/bench.Echo/echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
} satisfies MethodDefinition<Buffer, Buffer>;

const options: ChannelOptions = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
};

export const grpcEndpoint: Endpoint = {
  async serve() {
    const server = new Server(options);
    server.addService(
      { echo },
      {
        echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
          done(null, call.request),
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return { address: `127.0.0.1:${port}` };
  },

  connect({ address }) {
    const client = new Client(address, credentials.createInsecure(), options);
    return Promise.resolve(
      (body: Buffer) =>
        new Promise<number>((resolve, reject) => {
          client.makeUnaryRequest(echo.path, same, same, body, (error, reply) =>
            error === null ? resolve(reply?.length ?? 0) : reject(error),
          );
        }),
    );
  },
};
