<?php
// Calls through the agent with nothing but phpredis: one call, and a parallel fan-out. `php call.php [port] [service]`.

declare(strict_types=1);

$service = $argv[2] ?? '/service/php-example';
$agent = new Redis();
$agent->connect('127.0.0.1', (int) ($argv[1] ?? 15100));

$request = fn (string $method, mixed ...$args): string =>
    json_encode(['action' => $service, 'params' => ['m' => $method, 'args' => $args]]);

$result = function (string $reply): mixed {
    $answer = json_decode($reply, true);
    if (!in_array($answer['ec'], [0, 200], true)) {
        throw new RuntimeException("{$answer['ec']}: {$answer['em']}");
    }
    return $answer['result'];
};

echo $result($agent->get($request('greet', 'Ada'))), "\n";

// A pipeline is a fan-out: the agent runs its calls at the same time and answers in their order.
$batch = $agent->pipeline();
for ($i = 0; $i < 10; $i++) {
    $batch->get($request('sum', $i, 1));
}
echo json_encode(array_map($result, $batch->exec())), "\n";
