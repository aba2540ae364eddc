// Load on a JetStream stream of three replicas. A flood publishes asynchronously with 4,096 records under way, to the
// server that leads the stream; with more of them it is no faster, and some are never acknowledged.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxUnderWay = 4096
	patience    = 10 * time.Second
)

type load struct {
	flood bool
	rate  float64 // records per second; 0: one in flight, or flood
	bytes int

	warmUp, duration time.Duration
	started          time.Time
	begin, end       time.Time // of what counts
}

func parse() load {
	if len(os.Args) != 6 {
		log.Fatalf("usage: %s SERVERS flood|one|RATE RECORD_BYTES SECONDS WARM_UP", os.Args[0])
	}
	number := func(text string) float64 {
		value, err := strconv.ParseFloat(text, 64)
		check(err)
		return value
	}
	l := load{flood: os.Args[2] == "flood", bytes: int(number(os.Args[3]))}
	if !l.flood && os.Args[2] != "one" {
		l.rate = number(os.Args[2])
	}
	l.warmUp, l.duration = time.Duration(number(os.Args[5])*1e9), time.Duration(number(os.Args[4])*1e9)
	return l
}

func (l *load) start() {
	l.started = time.Now()
	l.begin = l.started.Add(l.warmUp)
	l.end = l.begin.Add(l.duration)
}

func check(err error) {
	if err != nil {
		log.Fatal("nats: ", err)
	}
}

// Latencies; several goroutines may count at a time.
type counted struct {
	load
	mutex sync.Mutex
	us    []int64
}

func (c *counted) add(since time.Time) {
	now := time.Now()
	if now.Before(c.begin) || !now.Before(c.end) {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.us = append(c.us, now.Sub(since).Microseconds())
}

func (c *counted) quantiles() map[string]int64 {
	if len(c.us) == 0 {
		return nil
	}
	sort.Slice(c.us, func(i, j int) bool { return c.us[i] < c.us[j] })
	at := func(q float64) int64 { return c.us[int(q*float64(len(c.us)-1))] }
	return map[string]int64{"p50": at(0.5), "p99": at(0.99), "max": at(1)}
}

func connect(servers ...string) (*nats.Conn, nats.JetStreamContext) {
	connection, err := nats.Connect(strings.Join(servers, ","))
	check(err)
	stream, err := connection.JetStream(nats.PublishAsyncMaxPending(maxUnderWay), nats.MaxWait(patience))
	check(err)
	return connection, stream
}

// Makes the stream anew and connects to the server that leads it.
func open(servers []string) nats.JetStreamContext {
	connection, any := connect(servers...)
	defer connection.Close()
	if err := any.DeleteStream("bench"); err != nil && err != nats.ErrStreamNotFound {
		check(err)
	}
	settings := &nats.StreamConfig{Name: "bench", Subjects: []string{"bench"}, Replicas: 3, Storage: nats.FileStorage}
	_, err := any.AddStream(settings)
	// Servers that have just started do not know all peers yet.
	for tries := 0; err != nil && tries < 100; tries++ {
		time.Sleep(100 * time.Millisecond)
		_, err = any.AddStream(settings)
	}
	check(err)
	for {
		info, err := any.StreamInfo("bench")
		check(err)
		if info.Cluster != nil && info.Cluster.Leader != "" {
			host, err := strconv.Atoi(strings.TrimPrefix(info.Cluster.Leader, "n"))
			check(err)
			_, leader := connect(servers[host-1])
			return leader
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type sent struct {
	at     time.Time
	future nats.PubAckFuture
}

func (l load) produce(stream nats.JetStreamContext, acknowledged *counted) {
	record := make([]byte, l.bytes)
	underWay := make(chan sent, maxUnderWay)
	var waiting sync.WaitGroup
	waiting.Add(1)
	go func() {
		defer waiting.Done()
		for next := range underWay {
			select {
			case <-next.future.Ok():
				acknowledged.add(next.at)
			case err := <-next.future.Err():
				check(err)
			case <-time.After(time.Until(next.at.Add(patience))):
				log.Fatal("nats: a record is not acknowledged")
			}
		}
	}()
	for number := 0; time.Now().Before(l.end); number++ {
		if l.rate > 0 {
			time.Sleep(time.Until(l.started.Add(time.Duration(float64(number) / l.rate * 1e9))))
		}
		now := time.Now()
		binary.LittleEndian.PutUint64(record, uint64(now.UnixNano()))
		if !l.flood && l.rate == 0 {
			_, err := stream.Publish("bench", record)
			check(err)
			acknowledged.add(now)
			continue
		}
		// Published later than this returns, from memory that has to stay as it is.
		future, err := stream.PublishAsync("bench", append([]byte(nil), record...), nats.StallWait(patience))
		check(err)
		underWay <- sent{now, future}
	}
	close(underWay)
	waiting.Wait()
}

func main() {
	log.SetFlags(0)
	l := parse()
	stream := open(strings.Split(os.Args[1], ","))
	l.start()
	acknowledged, delivered := &counted{load: l}, &counted{load: l}
	if l.rate > 0 {
		_, err := stream.Subscribe("bench", func(message *nats.Msg) {
			delivered.add(time.Unix(0, int64(binary.LittleEndian.Uint64(message.Data))))
		}, nats.OrderedConsumer())
		check(err)
	}
	l.produce(stream, acknowledged)
	rate := float64(len(acknowledged.us)) / l.end.Sub(l.begin).Seconds()
	result := map[string]any{"records_per_s": rate, "mb_per_s": rate * float64(l.bytes) / 1e6}
	result["ack_us"] = acknowledged.quantiles()
	if delivered.us != nil {
		result["deliver_us"] = delivered.quantiles()
	}
	text, err := json.Marshal(result)
	check(err)
	fmt.Println(string(text))
}
