// The public API of Ringside for applications, and nothing else. What is not exported here may change at any time.
export type { FilterRequest, FilterResult, RequestFilter } from './agent/filters.js';
export { MeshError } from './base/errors.js';
export type { MeshErrorOptions } from './base/errors.js';
export { Status, statusName } from './base/status.js';
export type { StatusCode, StatusName } from './base/status.js';
export type { Attachments } from './protocol/header.js';
export { connect, serve } from './sdk/connect.js';
export { Client } from './sdk/client.js';
export type { ClientEvents } from './sdk/client.js';
export { Server } from './sdk/server.js';
export { protobufHandlers } from './sdk/protobuf-rpc.js';
export type { ProtobufMethod } from './sdk/protobuf-rpc.js';
export type {
  CallOptions,
  ConnectOptions,
  Handler,
  HandlerReply,
  HandlerResult,
  LinkLimits,
  Log,
  LogLevel,
  MeshOptions,
  MeshRequest,
  Reply,
  ServeOptions,
  TransportName,
} from './sdk/types.js';
