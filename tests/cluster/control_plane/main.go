// The control plane of the cluster test, kubectl and helm in one program: its name, or its first argument, says which of them it is.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	helm "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

type component struct {
	name    string
	command func() *cobra.Command
}

var components = []component{
	{"kube-apiserver", func() *cobra.Command { return apiserver.NewAPIServerCommand() }},
	{"kube-controller-manager", func() *cobra.Command { return controllers.NewControllerManagerCommand() }},
	{"kube-scheduler", func() *cobra.Command { return scheduler.NewSchedulerCommand() }},
	{"kubectl", func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() }},
	{"helm", helmCommand},
}

func helmCommand() *cobra.Command {
	kube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return command
}

func find(name string) int {
	return slices.IndexFunc(components, func(c component) bool { return c.name == name })
}

func main() {
	index := find(filepath.Base(os.Args[0]))
	if index < 0 && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		index = find(os.Args[0])
	}
	if index < 0 {
		var names []string
		for _, c := range components {
			names = append(names, c.name)
		}
		fmt.Fprintf(os.Stderr, "usage: control_plane {%s} ...\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	os.Exit(cli.Run(components[index].command()))
}
