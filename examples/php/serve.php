<?php
// A service in PHP behind its agent: the whole of what a server has to speak is here.
//
// The agent calls it as an old server of the legacy protocol (docs/legacy.md): GET with JSON comes in, JSON goes out, and PING
// asks whether it is there. Publish it in the agent's configuration (agent.yaml beside this file), then run `php serve.php`.
// One process runs one call at a time; for more, start several on ports of their own and publish each.

declare(strict_types=1);

$methods = [
    'greet' => fn (string $name): string => "Hello, $name!",
    'sum' => fn (int|float ...$numbers): int|float => array_sum($numbers),
];

/** The answer to one call: `ec` 200 for a result, 502 for an unknown method, 503 for a method that failed. */
function answer(array $methods, array $request): array
{
    $name = $request['params']['m'];
    if (!isset($methods[$name])) {
        return ['ec' => 502, 'em' => "no method $name", 'result' => null];
    }
    try {
        return ['ec' => 200, 'em' => '', 'result' => $methods[$name](...($request['params']['args'] ?? []))];
    } catch (Throwable $error) {
        return ['ec' => 503, 'em' => $error->getMessage(), 'result' => null];
    }
}

/** Takes one command off the buffer: `*2` and that many words, each as `$length` and its bytes; null while it is not whole. */
function takeCommand(string &$buffer): ?array
{
    if (!preg_match('/^\*(\d+)\r\n/', $buffer, $head)) {
        return null;
    }
    $at = strlen($head[0]);
    $words = [];
    for ($i = 0; $i < (int) $head[1]; $i++) {
        $end = strpos($buffer, "\r\n", $at);
        if ($end === false) {
            return null;
        }
        $length = (int) substr($buffer, $at + 1, $end - $at - 1);
        $at = $end + 2 + $length + 2;
        if (strlen($buffer) < $at) {
            return null;
        }
        $words[] = substr($buffer, $end + 2, $length);
    }
    $buffer = substr($buffer, $at);
    return $words;
}

function reply(array $methods, array $words): string
{
    switch (strtoupper($words[0])) {
        case 'GET':
            $json = json_encode(answer($methods, json_decode($words[1], true)), JSON_UNESCAPED_UNICODE);
            return '$' . strlen($json) . "\r\n$json\r\n";
        case 'PING':
            return "+PONG\r\n";
        default:
            return "-ERR unknown command\r\n";
    }
}

$server = stream_socket_server('tcp://127.0.0.1:' . ($argv[1] ?? '7002'));
echo 'serving on ' . stream_socket_get_name($server, false) . "\n";

// The agent opens several connections and does one request at a time on each.
$connections = [];
$buffers = [];
while (true) {
    $ready = [$server, ...$connections];
    $write = $except = null;
    stream_select($ready, $write, $except, null);
    foreach ($ready as $socket) {
        if ($socket === $server) {
            $connection = stream_socket_accept($server);
            $connections[(int) $connection] = $connection;
            $buffers[(int) $connection] = '';
            continue;
        }
        $bytes = fread($socket, 65536);
        if ($bytes === '' || $bytes === false) {
            unset($connections[(int) $socket], $buffers[(int) $socket]);
            fclose($socket);
            continue;
        }
        $buffer = &$buffers[(int) $socket];
        $buffer .= $bytes;
        while (($words = takeCommand($buffer)) !== null) {
            fwrite($socket, reply($methods, $words));
        }
        unset($buffer);
    }
}
