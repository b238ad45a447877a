// What a program does that uses go-spiffe, SPIFFE's own library for Go: watches its certificates, and speaks mutual TLS with them.
// One line of JSON for each thing that happens. SPIFFE_ENDPOINT_SOCKET says where the Workload API is.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	fmt.Println(string(line))
}

func fail(err error) {
	say(map[string]any{"event": "error", "code": status.Code(err).String(), "message": err.Error()})
	os.Exit(1)
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svids := []map[string]any{}
	for _, svid := range update.SVIDs {
		// The library checks that the key is the certificate's; the chain is for whoever verifies.
		id, _, err := x509svid.Verify(svid.Certificates, update.Bundles)
		verified := err == nil && id == svid.ID
		leaf := svid.Certificates[0]
		svids = append(svids, map[string]any{
			"id": svid.ID.String(), "hint": svid.Hint, "verified": verified, "serial": leaf.SerialNumber.Text(16),
			"seconds": int(leaf.NotAfter.Sub(leaf.NotBefore).Seconds()),
		})
	}
	anchors := 0
	for _, bundle := range update.Bundles.Bundles() {
		anchors += len(bundle.X509Authorities())
	}
	say(map[string]any{"event": "update", "svids": svids, "anchors": anchors})
}

func (watcher) OnX509ContextWatchError(err error) {
	say(map[string]any{"event": "error", "code": status.Code(err).String(), "message": err.Error()})
}

type bundles struct{}

func (bundles) OnX509BundlesUpdate(set *x509bundle.Set) {
	for _, bundle := range set.Bundles() {
		say(map[string]any{"event": "bundle", "domain": bundle.TrustDomain().String(), "anchors": len(bundle.X509Authorities())})
	}
}

func (bundles) OnX509BundlesWatchError(err error) {
	say(map[string]any{"event": "error", "code": status.Code(err).String(), "message": err.Error()})
}

func main() {
	ctx := context.Background()
	switch os.Args[1] {
	case "fetch":
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		client, err := workloadapi.New(ctx)
		if err != nil {
			fail(err)
		}
		began := time.Now()
		svid, err := client.FetchX509SVID(limited)
		if err != nil {
			fail(err)
		}
		say(map[string]any{"event": "fetched", "id": svid.ID.String(), "ms": time.Since(began).Milliseconds()})
	case "jwt":
		client, err := workloadapi.New(ctx)
		if err != nil {
			fail(err)
		}
		_, err = client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "shop"})
		fail(err)
	case "watch":
		client, err := workloadapi.New(ctx)
		if err != nil {
			fail(err)
		}
		go func() { _ = client.WatchX509Bundles(ctx, bundles{}) }()
		fail(client.WatchX509Context(ctx, watcher{}))
	case "serve":
		peer := spiffeid.RequireFromString(os.Args[2])
		listener, err := spiffetls.ListenWithMode(ctx, "tcp", "127.0.0.1:0", spiffetls.MTLSServer(tlsconfig.AuthorizeID(peer)))
		if err != nil {
			fail(err)
		}
		say(map[string]any{"event": "listening", "address": listener.Addr().String()})
		for {
			conn, err := listener.Accept()
			if err != nil {
				fail(err)
			}
			go func() {
				defer conn.Close()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					say(map[string]any{"event": "refused", "message": err.Error()})
					return
				}
				client, _ := spiffetls.PeerIDFromConn(conn)
				fmt.Fprintf(conn, "%s says %s", client, line)
			}()
		}
	case "dial":
		peer := spiffeid.RequireFromString(os.Args[3])
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		conn, err := spiffetls.DialWithMode(limited, "tcp", os.Args[2], spiffetls.MTLSClient(tlsconfig.AuthorizeID(peer)))
		if err != nil {
			fail(err)
		}
		fmt.Fprintln(conn, "hello")
		answer, err := io.ReadAll(conn)
		if err != nil {
			fail(err)
		}
		server, _ := spiffetls.PeerIDFromConn(conn)
		say(map[string]any{"event": "answered", "text": string(answer), "by": server.String()})
	}
}
