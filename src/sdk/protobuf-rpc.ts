// The bridge to protobufjs: the transport of a generated or reflected service on the calling side, and handlers made
// from a reflected service on the serving side. Only types of protobufjs are imported, so apps that do not use it do
// not load it.
import type { Method, RPCImpl, Service } from 'protobufjs';
import { MeshError, errorText } from '../base/errors.js';
import type { CallOptions, Handler, MeshRequest, Reply } from './types.js';

/** What is needed of a client. */
interface Caller {
  call(service: string, method: string, body: Uint8Array, options: CallOptions): Promise<Reply>;
}

/** See {@link Client.rpcImpl}. */
export function rpcImplOf(client: Caller, service: string, options: CallOptions): RPCImpl {
  return (method, requestData, callback) => {
    // protobufjs says with null that the service was ended; the client lives on.
    if ((method as unknown) === null) return;
    client.call(service, method.name, requestData, options).then(
      (reply) => callback(null, reply.body),
      (error: Error) => callback(error),
    );
  };
}

/** A method of a protobuf service in plain objects. */
export type ProtobufMethod = (message: never, request: MeshRequest) => unknown;

/**
 * Handlers for `serve` from a reflected protobufjs service and plain functions. A body that is no such message is
 * INVALID_ARGUMENT.
 *
 * @example
 * const root = protobuf.parse(source).root;
 * await serve({ service: 'user-service', methods: protobufHandlers(root.lookupService('Users'), {
 *   GetUser: ({ id }) => ({ id, name: 'Ada' }),
 * }) });
 */
export function protobufHandlers(
  service: Service,
  implementation: Record<string, ProtobufMethod>,
): Record<string, Handler> {
  service.resolveAll();
  const handlers: Record<string, Handler> = {};
  for (const [name, implement] of Object.entries(implementation)) {
    const method = service.methods[name];
    if (method === undefined) throw new TypeError(`service ${service.fullName} has no method ${name}`);
    handlers[name] = protobufHandler(method, implement);
  }
  return handlers;
}

function protobufHandler(method: Method, implement: ProtobufMethod): Handler {
  const requestType = method.resolvedRequestType!;
  const responseType = method.resolvedResponseType!;
  return async (request) => {
    let message: unknown;
    try {
      message = requestType.toObject(requestType.decode(request.body), { defaults: true, longs: String });
    } catch (error) {
      throw new MeshError('INVALID_ARGUMENT', `the body is no ${requestType.name}: ${errorText(error)}`);
    }
    const answer = await implement(message as never, request);
    return responseType.encode(responseType.fromObject(answer ?? {})).finish();
  };
}
