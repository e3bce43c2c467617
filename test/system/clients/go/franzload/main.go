// Writes and reads through franz-go without end: franzload BOOTSTRAP TOPIC PARTITIONS RATE [RACK]
// (see ../../load-client.ts).
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const mostOutstanding = 2000

var (
	printing sync.Mutex
	out      = bufio.NewWriter(os.Stdout)
)

func say(format string, values ...any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Fprintf(out, format+"\n", values...)
	out.Flush()
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func milliseconds() int64 { return time.Now().UnixMilli() }

func backoff(attempt int) time.Duration {
	return min(time.Duration(50<<min(attempt, 4))*time.Millisecond, 200*time.Millisecond)
}

func common(bootstrap string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(backoff),
		kgo.RequestTimeoutOverhead(time.Second),
		kgo.DialTimeout(2 * time.Second),
	}
}

type writer struct {
	name        string
	topic       string
	client      *kgo.Client
	next        []int
	outstanding []atomic.Int32
}

func newWriter(name, bootstrap, topic string, partitions int, more ...kgo.Opt) *writer {
	options := append(common(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(4*time.Second),
		kgo.RecordDeliveryTimeout(2*time.Minute),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.UnknownTopicRetries(-1),
	)
	client := must(kgo.NewClient(append(options, more...)...))
	return &writer{name, topic, client, make([]int, partitions), make([]atomic.Int32, partitions)}
}

func (w *writer) send(partition int) {
	sequence := w.next[partition]
	w.next[partition]++
	w.outstanding[partition].Add(1)
	place := fmt.Sprintf("%s %d %d", w.name, partition, sequence)
	value := fmt.Sprintf("%s:%d:%d", w.name, partition, sequence)
	sent := milliseconds()
	record := &kgo.Record{Topic: w.topic, Partition: int32(partition), Value: []byte(value)}
	w.client.Produce(context.Background(), record, func(stored *kgo.Record, err error) {
		w.outstanding[partition].Add(-1)
		if err == nil {
			say("ok %s %d %d %d", place, stored.Offset, sent, milliseconds())
		} else {
			say("indeterminate %s %d %d %v", place, sent, milliseconds(), err)
		}
	})
}

func (w *writer) run(rate int, stopping <-chan struct{}) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for {
		select {
		case <-stopping:
			w.client.Flush(context.Background())
			for partition, count := range w.next {
				say("sent %s %d %d", w.name, partition, count)
			}
			return
		case <-ticker.C:
			for partition := range w.next {
				if w.outstanding[partition].Load() < mostOutstanding {
					w.send(partition)
				}
			}
		}
	}
}

func read(bootstrap, topic string, partitions int, rack string) {
	offsets := map[int32]kgo.Offset{}
	for partition := range partitions {
		offsets[int32(partition)] = kgo.NewOffset().At(0)
	}
	options := append(common(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(500*time.Millisecond),
	)
	if rack != "" {
		options = append(options, kgo.Rack(rack))
	}
	client := must(kgo.NewClient(options...))
	go look(client, topic)
	for {
		client.PollFetches(context.Background()).EachPartition(func(p kgo.FetchTopicPartition) {
			now := milliseconds()
			if p.Err != nil {
				refused(p, now)
				return
			}
			say("watermark franz-go-reader fetch %d %d %d", p.Partition, now, p.HighWatermark)
			if len(p.Records) == 0 {
				return
			}
			line := strings.Builder{}
			fmt.Fprintf(&line, "read franz-go-reader %d %d", p.Partition, now)
			for _, record := range p.Records {
				fmt.Fprintf(&line, " %d %s", record.Offset, record.Value)
			}
			say("%s", line.String())
		})
	}
}

func refused(p kgo.FetchTopicPartition, now int64) {
	loss := (*kgo.ErrDataLoss)(nil)
	if errors.As(p.Err, &loss) {
		say("refused franz-go-reader %d %d %d %v", p.Partition, now, loss.ConsumedTo, p.Err)
	} else if errors.Is(p.Err, kerr.OffsetOutOfRange) {
		say("refused franz-go-reader %d %d %d %v", p.Partition, now, -1, p.Err)
	} else {
		fmt.Fprintln(os.Stderr, p.Err)
	}
}

func look(client *kgo.Client, topic string) {
	admin := kadm.NewClient(client)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		now := milliseconds()
		ends, err := admin.ListEndOffsets(ctx, topic)
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		ends.Each(func(end kadm.ListedOffset) {
			if end.Err == nil && end.Offset >= 0 {
				say("watermark franz-go-reader latest %d %d %d", end.Partition, now, end.Offset)
			}
		})
		time.Sleep(500 * time.Millisecond)
	}
}

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	partitions := must(strconv.Atoi(os.Args[3]))
	rate := must(strconv.Atoi(os.Args[4]))
	rack := ""
	if len(os.Args) > 5 {
		rack = os.Args[5]
	}
	go read(bootstrap, topic, partitions, rack)
	writers := []*writer{
		newWriter("franz-go-idempotent", bootstrap, topic, partitions),
		newWriter("franz-go-plain", bootstrap, topic, partitions,
			kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1)),
	}
	stopping := make(chan struct{})
	group := sync.WaitGroup{}
	for _, one := range writers {
		group.Add(1)
		go func() {
			one.run(rate, stopping)
			group.Done()
		}()
	}
	input := bufio.NewReader(os.Stdin)
	// The line that asks for the end of the writing.
	if _, err := input.ReadString('\n'); err != nil {
		return
	}
	close(stopping)
	group.Wait()
	say("stopped")
	io.Copy(io.Discard, input)
}
