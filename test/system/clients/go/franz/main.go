// Drives franz-go: franz BOOTSTRAP. It also is the reference reader and producer of other suites.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"shardlog/test/clients/lines"
)

const patience = 30 * time.Second

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

type driver struct{ bootstrap string }

func (d driver) client(options ...kgo.Opt) (*kgo.Client, error) {
	base := []kgo.Opt{kgo.SeedBrokers(d.bootstrap), kgo.DisableClientMetrics()}
	return kgo.NewClient(append(base, options...)...)
}

func (d driver) handle(request lines.Request) (lines.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch request.Op {
	case "createTopic":
		return d.createTopic(ctx, request)
	case "produce":
		return d.produce(ctx, request)
	case "read":
		return d.read(ctx, request)
	case "offsetForTime":
		return d.offsetForTime(ctx, request)
	}
	return lines.Answer{}, fmt.Errorf("unknown op %q", request.Op)
}

func (d driver) createTopic(ctx context.Context, r lines.Request) (lines.Answer, error) {
	client, err := d.client()
	if err != nil {
		return lines.Answer{}, err
	}
	defer client.Close()
	configs := map[string]*string{}
	for name, value := range r.Configs {
		configs[name] = kadm.StringPtr(value)
	}
	_, err = kadm.NewClient(client).CreateTopic(ctx, r.Partitions, 1, configs, r.Topic)
	return lines.Answer{}, err
}

func (d driver) produce(ctx context.Context, r lines.Request) (lines.Answer, error) {
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(codecs[r.Codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(1 << 20),
		kgo.ProducerLinger(5 * time.Millisecond),
	}
	switch r.Acks {
	case 0:
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case 1:
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if r.Acks != -1 || (r.Idempotent != nil && !*r.Idempotent) {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := d.client(options...)
	if err != nil {
		return lines.Answer{}, err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(r.Records))
	for i, record := range r.Records {
		records[i] = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: record.Key,
			Value: record.Value, Timestamp: time.UnixMilli(record.Timestamp)}
		for _, h := range record.Headers {
			header := kgo.RecordHeader{Key: h.Name, Value: h.Value}
			records[i].Headers = append(records[i].Headers, header)
		}
	}
	answer := lines.Answer{}
	for _, result := range client.ProduceSync(ctx, records...) {
		if result.Err != nil {
			return lines.Answer{}, result.Err
		}
		answer.Offsets = append(answer.Offsets, result.Record.Offset)
	}
	return answer, nil
}

func (d driver) read(ctx context.Context, r lines.Request) (lines.Answer, error) {
	client, err := d.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		r.Topic: {r.Partition: kgo.NewOffset().At(r.Offset)},
	}), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return lines.Answer{}, err
	}
	defer client.Close()
	answer := lines.Answer{}
	for len(answer.Records) < r.Count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return lines.Answer{}, fmt.Errorf("%d of %d records: %w", len(answer.Records), r.Count, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if len(answer.Records) == r.Count {
				return
			}
			headers := []lines.Header{}
			for _, h := range record.Headers {
				headers = append(headers, lines.Header{Name: h.Key, Value: h.Value})
			}
			answer.Records = append(answer.Records, lines.Record{Offset: record.Offset,
				Timestamp: record.Timestamp.UnixMilli(), Key: record.Key, Value: record.Value,
				Headers: headers})
		})
	}
	return answer, nil
}

func (d driver) offsetForTime(ctx context.Context, r lines.Request) (lines.Answer, error) {
	client, err := d.client()
	if err != nil {
		return lines.Answer{}, err
	}
	defer client.Close()
	offsets, err := kadm.NewClient(client).ListOffsetsAfterMilli(ctx, r.Timestamp, r.Topic)
	if err != nil {
		return lines.Answer{}, err
	}
	found, ok := offsets.Lookup(r.Topic, r.Partition)
	if !ok {
		return lines.Answer{}, fmt.Errorf("no answer for %s-%d", r.Topic, r.Partition)
	}
	return lines.Answer{Offset: &found.Offset}, found.Err
}

func main() {
	lines.Serve(driver{bootstrap: os.Args[1]}.handle)
}
