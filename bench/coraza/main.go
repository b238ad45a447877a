// Microseconds of CPU that Coraza spends on one request, without a proxy around it; what bench:waf compares with.
// go build -o coraza .; ./coraza RULES COUNT < REQUEST
// REQUEST: method, target and each header (name TAB value) on a line of its own, an empty line, the body.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/corazawaf/coraza/v3"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func cpuMicroseconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return float64(usage.Utime.Sec+usage.Stime.Sec)*1e6 + float64(usage.Utime.Usec+usage.Stime.Usec)
}

// Whether the request is refused.
func judge(waf coraza.WAF, head []string, body string) bool {
	transaction := waf.NewTransaction()
	defer transaction.Close()
	transaction.ProcessConnection("192.0.2.1", 40000, "192.0.2.2", 80)
	transaction.ProcessURI(head[1], head[0], "HTTP/1.1")
	for _, field := range head[2:] {
		name, value, _ := strings.Cut(field, "\t")
		transaction.AddRequestHeader(name, value)
		if strings.EqualFold(name, "host") {
			transaction.SetServerName(value)
		}
	}
	if transaction.ProcessRequestHeaders() != nil {
		return true
	}
	if _, _, err := transaction.WriteRequestBody([]byte(body)); err != nil {
		fail(err)
	}
	interruption, err := transaction.ProcessRequestBody()
	if err != nil {
		fail(err)
	}
	transaction.ProcessLogging()
	return interruption != nil
}

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fail(err)
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	head, body, _ := strings.Cut(string(input), "\n\n")
	lines := strings.Split(head, "\n")
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectivesFromFile(os.Args[1]))
	if err != nil {
		fail(err)
	}
	refused := 0
	began := 0.0
	for i := -rounds / 4; i < rounds; i++ {
		if i == 0 {
			began = cpuMicroseconds()
		}
		if judge(waf, lines, body) {
			refused = 1
		}
	}
	fmt.Printf("%.1f %d\n", (cpuMicroseconds()-began)/float64(rounds), refused)
}
