"""Drives kafka-python: kafka_python.py BOOTSTRAP."""
import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

import lines

PATIENCE = 30.0
bootstrap = sys.argv[1]


def produce(request):
    config = {
        'bootstrap_servers': bootstrap,
        'compression_type': None if request['codec'] == 'none' else request['codec'],
        'acks': 'all' if request['acks'] == -1 else request['acks'],
        'max_request_size': 2 << 20,
        'linger_ms': 5,
    }
    if 'idempotent' in request:
        config['enable_idempotence'] = request['idempotent']
    producer = KafkaProducer(**config)
    try:
        futures = [
            producer.send(
                request['topic'],
                partition=request['partition'],
                key=lines.to_bytes(record['key']),
                value=lines.to_bytes(record['value']),
                headers=lines.headers_of(record),
                timestamp_ms=record['timestamp'],
            )
            for record in request['records']
        ]
        producer.flush(PATIENCE)
        return {'offsets': [future.get(PATIENCE).offset for future in futures]}
    finally:
        producer.close()


def consumer(request):
    partition = TopicPartition(request['topic'], request['partition'])
    client = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100,
                           consumer_timeout_ms=int(PATIENCE * 1000))
    client.assign([partition])
    return client, partition


def read(request):
    client, partition = consumer(request)
    try:
        client.seek(partition, request['offset'])
        records = []
        for message in client:
            records.append(lines.record_of(message.offset, message.timestamp, message.key,
                                           message.value, message.headers))
            if len(records) == request['count']:
                return {'records': records}
        raise RuntimeError(f'{len(records)} of {request["count"]} records')
    finally:
        client.close()


def offset_for_time(request):
    client, partition = consumer(request)
    try:
        return {'offset': client.offsets_for_times({partition: request['timestamp']})[partition].offset}
    finally:
        client.close()


lines.serve({'produce': produce, 'read': read, 'offsetForTime': offset_for_time})
