// A caller that uses hiredis, the client library in C that redis-cli and many other clients are made of: sends requests to an agent as one
// pipelined batch on one connection and prints their answers, a line each. Arguments: the agent's port, then a request each.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  redisContext* agent = redisConnect("127.0.0.1", atoi(argv[1]));
  if (agent == NULL || agent->err) return 3;
  for (int i = 2; i < argc; i++) redisAppendCommand(agent, "GET %s", argv[i]);
  for (int i = 2; i < argc; i++) {
    redisReply* reply = NULL;
    if (redisGetReply(agent, (void**)&reply) != REDIS_OK || reply->type != REDIS_REPLY_STRING) {
      fprintf(stderr, "no answer: %s\n", agent->errstr);
      return 4;
    }
    printf("%s\n", reply->str);
    freeReplyObject(reply);
  }
  redisFree(agent);
  return 0;
}
