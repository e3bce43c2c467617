"""Writes and reads through librdkafka without end: confluent_load.py BOOTSTRAP TOPIC PARTITIONS
RATE [RACK] (see ../load-client.ts)."""
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

MOST_OUTSTANDING = 2000
bootstrap, topic, partitions, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rack = sys.argv[5] if len(sys.argv) > 5 else None
stopping = threading.Event()
printing = threading.Lock()

common = {
    'bootstrap.servers': bootstrap,
    'reconnect.backoff.ms': 20,
    'reconnect.backoff.max.ms': 200,
    'socket.timeout.ms': 5000,
    'socket.connection.setup.timeout.ms': 2000,
    'retry.backoff.ms': 50,
    'retry.backoff.max.ms': 200,
    'log_level': 0,
}


def say(line):
    with printing:
        sys.stdout.write(line + '\n')
        sys.stdout.flush()


def milliseconds():
    return time.time_ns() // 1_000_000


class Writer(threading.Thread):
    def __init__(self, name, config):
        super().__init__(daemon=True)
        self.title = name
        self.producer = Producer(common | config | {
            'acks': -1,
            'request.timeout.ms': 5000,
            'message.timeout.ms': 120_000,
            'linger.ms': 2,
        })
        self.next = [0] * partitions
        self.outstanding = [0] * partitions

    def send(self, partition):
        sequence = self.next[partition]
        self.next[partition] += 1
        self.outstanding[partition] += 1
        place = f'{self.title} {partition} {sequence}'
        sent = milliseconds()

        def answered(error, message):
            self.outstanding[partition] -= 1
            ended = milliseconds()
            if error is None:
                # None, if the answer that had it was lost and a repetition was refused as known.
                offset = -1 if message.offset() is None else message.offset()
                say(f'ok {place} {offset} {sent} {ended}')
            else:
                say(f'indeterminate {place} {sent} {ended} {error}')

        self.producer.produce(topic, f'{self.title}:{partition}:{sequence}', partition=partition,
                              on_delivery=answered)

    def run(self):
        due = time.monotonic()
        while not stopping.is_set():
            for partition in range(partitions):
                if self.outstanding[partition] < MOST_OUTSTANDING:
                    self.send(partition)
            due = max(due + 1 / rate, time.monotonic())
            while not stopping.is_set() and time.monotonic() < due:
                self.producer.poll(max(0.0, due - time.monotonic()))
        self.producer.flush()
        for partition in range(partitions):
            say(f'sent {self.title} {partition} {self.next[partition]}')


class Reader(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        config = {
            'group.id': 'none',
            'enable.auto.commit': False,
            'enable.auto.offset.store': False,
            'auto.offset.reset': 'error',
        }
        if rack:
            config['client.rack'] = rack
        self.consumer = Consumer(common | config)
        self.consumer.assign([TopicPartition(topic, one, 0) for one in range(partitions)])

    def run(self):
        next_look = 0.0
        looked = 0
        while True:
            records = {}
            for message in self.consumer.consume(500, 0.1):
                if message.error() is None:
                    value = message.value().decode()
                    records.setdefault(message.partition(), []).append(f'{message.offset()} {value}')
                else:
                    self.failed(message)
            for partition, texts in records.items():
                say(f'read librdkafka-reader {partition} {milliseconds()} {" ".join(texts)}')
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 0.2
                looked = (looked + 1) % partitions
                self.look(looked)

    def failed(self, message):
        error = message.error()
        lost = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE,
                KafkaError._LOG_TRUNCATION)
        if error.code() in lost:
            place = f'librdkafka-reader {message.partition()} {milliseconds()}'
            say(f'refused {place} {message.offset()} {error.str()}')
        else:
            print(error, file=sys.stderr)

    def look(self, partition):
        one = TopicPartition(topic, partition)
        _, high = self.consumer.get_watermark_offsets(one, cached=True)
        if high >= 0:
            say(f'watermark librdkafka-reader fetch {partition} {milliseconds()} {high}')
        try:
            _, high = self.consumer.get_watermark_offsets(one, timeout=0.3)
            say(f'watermark librdkafka-reader latest {partition} {milliseconds()} {high}')
        except KafkaException as error:
            print(error, file=sys.stderr)


Reader().start()
writers = [
    Writer('librdkafka-idempotent', {'enable.idempotence': True}),
    Writer('librdkafka-plain', {'max.in.flight': 1}),
]
for writer in writers:
    writer.start()
# The line that asks for the end of the writing.
if sys.stdin.readline():
    stopping.set()
    for writer in writers:
        writer.join()
    say('stopped')
    sys.stdin.read()
# The threads of the libraries would go on while the interpreter winds up.
os._exit(0)
