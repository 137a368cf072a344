// A control plane that tells gRPC clients by xDS which replicas each tier has.
//
//	xds ADDRESS
//
// Each line of standard input names a tier and its replicas from now on: "vision 127.0.0.1:7001 127.0.0.2:7001". The end of the input ends it.
package main

import (
	"bufio"
	"context"
	"log"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// everyone gives all clients the same snapshot.
type everyone struct{}

func (everyone) ID(*core.Node) string { return "" }

func packed(message proto.Message) *anypb.Any {
	any, err := anypb.New(message)
	if err != nil {
		log.Fatal(err)
	}
	return any
}

func endpointOf(replica string) *endpoint.LbEndpoint {
	address := netip.MustParseAddrPort(replica)
	socket := &core.SocketAddress{Address: address.Addr().String(), PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(address.Port())}}
	return &endpoint.LbEndpoint{HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
		Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: socket}}}}}
}

// assignment has the replicas in one locality, without which gRPC 1.51 asks none.
func assignment(tier string, replicas []string) *endpoint.ClusterLoadAssignment {
	locality := &endpoint.LocalityLbEndpoints{Locality: &core.Locality{Zone: "all"}, LoadBalancingWeight: wrapperspb.UInt32(1)}
	for _, replica := range replicas {
		locality.LbEndpoints = append(locality.LbEndpoints, endpointOf(replica))
	}
	return &endpoint.ClusterLoadAssignment{ClusterName: tier, Endpoints: []*endpoint.LocalityLbEndpoints{locality}}
}

func clusterOf(tier string) *cluster.Cluster {
	source := &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
	return &cluster.Cluster{Name: tier, ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: source}, LbPolicy: cluster.Cluster_ROUND_ROBIN}
}

// listenerOf leads every call to xds:///TIER to the tier's cluster.
func listenerOf(tier string) *listener.Listener {
	every := &route.Route{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{}},
		Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: tier}}}}
	routes := &route.RouteConfiguration{Name: tier, VirtualHosts: []*route.VirtualHost{{Name: tier, Domains: []string{"*"}, Routes: []*route.Route{every}}}}
	filters := []*manager.HttpFilter{{Name: "router", ConfigType: &manager.HttpFilter_TypedConfig{TypedConfig: packed(&router.Router{})}}}
	return &listener.Listener{Name: tier, ApiListener: &listener.ApiListener{ApiListener: packed(&manager.HttpConnectionManager{
		RouteSpecifier: &manager.HttpConnectionManager_RouteConfig{RouteConfig: routes}, HttpFilters: filters})}}
}

func snapshot(version int, tiers map[string][]string) *cache.Snapshot {
	resources := map[resource.Type][]types.Resource{}
	for tier, replicas := range tiers {
		resources[resource.ListenerType] = append(resources[resource.ListenerType], listenerOf(tier))
		resources[resource.ClusterType] = append(resources[resource.ClusterType], clusterOf(tier))
		resources[resource.EndpointType] = append(resources[resource.EndpointType], assignment(tier, replicas))
	}
	made, err := cache.NewSnapshot(strconv.Itoa(version), resources)
	if err != nil {
		log.Fatal(err)
	}
	return made
}

func main() {
	socket, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	known := cache.NewSnapshotCache(false, everyone{}, nil)
	service := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(service, server.NewServer(context.Background(), known, nil))
	go func() { log.Fatal(service.Serve(socket)) }()
	tiers := map[string][]string{}
	lines := bufio.NewScanner(os.Stdin)
	for version := 1; lines.Scan(); version++ {
		words := strings.Fields(lines.Text())
		tiers[words[0]] = words[1:]
		if err := known.SetSnapshot(context.Background(), "", snapshot(version, tiers)); err != nil {
			log.Fatal(err)
		}
	}
}
