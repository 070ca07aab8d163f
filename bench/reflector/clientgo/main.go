// Command clientgo is what the reflector bench compares with: a typed pod informer of client-go, as most controllers use it.
// It speaks the bench's protocol: prints "ready", starts at "go" on standard input, prints "synced N", then "changed N" when the
// change of the marker pod has come, and "digest HEX" of what it holds when it is asked for one.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of the kubeconfig")
	trim := flag.Bool("trim", false, "keep only the fields that our reflector keeps")
	json := flag.Bool("json", false, "ask the server for JSON, as for kinds that have no protobuf")
	marker := flag.String("marker", "", "namespace/name of the pod whose change comes last")
	flag.Parse()
	if err := run(*kubeconfig, *marker, *trim, *json); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, marker string, trim, json bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// Left to itself, client-go asks for protobuf where a kind has it.
	if json {
		config.ContentType = "application/json"
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	if trim {
		if err := informer.SetTransform(transform); err != nil {
			return err
		}
	}
	var changes atomic.Int64
	synced := make(chan struct{})
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, object any) {
			pod := object.(*corev1.Pod)
			count := changes.Add(1)
			if pod.Namespace+"/"+pod.Name == marker {
				<-synced
				fmt.Printf("changed %d\n", count)
			}
		},
	}); err != nil {
		return err
	}

	fmt.Printf("ready client-go with %s\n", runtime.Version())
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "go":
			go informer.Run(context.Background().Done())
			if !cache.WaitForCacheSync(context.Background().Done(), informer.HasSynced) {
				return fmt.Errorf("the informer was stopped before its first list")
			}
			fmt.Printf("synced %d\n", len(informer.GetStore().ListKeys()))
			close(synced)
		case "digest":
			fmt.Printf("digest %s\n", digest(informer.GetStore().List()))
		}
	}
	return input.Err()
}

// digest is the SHA-256 of the sorted lines "namespace/name uid resourceVersion": two candidates with the same digest know the same cluster.
func digest(objects []any) string {
	lines := make([]string, 0, len(objects))
	for _, object := range objects {
		pod := object.(*corev1.Pod)
		lines = append(lines, fmt.Sprintf("%s/%s %s %s", pod.Namespace, pod.Name, pod.UID, pod.ResourceVersion))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
}

// transform keeps what src/cluster/projections.ts keeps of a pod.
func transform(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			UID:               pod.UID,
			Namespace:         pod.Namespace,
			Name:              pod.Name,
			ResourceVersion:   pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp,
			DeletionTimestamp: pod.DeletionTimestamp,
			Labels:            pod.Labels,
			Annotations:       ownAnnotations(pod.Annotations),
			OwnerReferences:   slices.DeleteFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Controller == nil || !*o.Controller }),
		},
		Spec: corev1.PodSpec{
			NodeName:       pod.Spec.NodeName,
			RestartPolicy:  pod.Spec.RestartPolicy,
			Volumes:        claims(pod.Spec.Volumes),
			Containers:     containers(pod.Spec.Containers),
			InitContainers: containers(pod.Spec.InitContainers),
		},
		Status: corev1.PodStatus{
			Phase:                      pod.Status.Phase,
			Reason:                     pod.Status.Reason,
			Message:                    pod.Status.Message,
			QOSClass:                   pod.Status.QOSClass,
			StartTime:                  pod.Status.StartTime,
			Conditions:                 readiness(pod.Status.Conditions),
			ContainerStatuses:          statuses(pod.Status.ContainerStatuses),
			InitContainerStatuses:      statuses(pod.Status.InitContainerStatuses),
			EphemeralContainerStatuses: statuses(pod.Status.EphemeralContainerStatuses),
		},
	}, nil
}

func ownAnnotations(all map[string]string) map[string]string {
	var own map[string]string
	for key, value := range all {
		if strings.HasPrefix(key, "oomscope.dev/") {
			if own == nil {
				own = map[string]string{}
			}
			own[key] = value
		}
	}
	return own
}

func claims(volumes []corev1.Volume) []corev1.Volume {
	var kept []corev1.Volume
	for _, volume := range volumes {
		if volume.PersistentVolumeClaim != nil || volume.Ephemeral != nil {
			kept = append(kept, volume)
		}
	}
	return kept
}

func containers(all []corev1.Container) []corev1.Container {
	kept := make([]corev1.Container, 0, len(all))
	for _, container := range all {
		kept = append(kept, corev1.Container{
			Name:          container.Name,
			RestartPolicy: container.RestartPolicy,
			Resources:     memory(container.Resources),
		})
	}
	return kept
}

func statuses(all []corev1.ContainerStatus) []corev1.ContainerStatus {
	kept := make([]corev1.ContainerStatus, 0, len(all))
	for _, status := range all {
		small := corev1.ContainerStatus{
			Name:                 status.Name,
			ContainerID:          status.ContainerID,
			RestartCount:         status.RestartCount,
			Ready:                status.Ready,
			State:                status.State,
			LastTerminationState: corev1.ContainerState{Terminated: status.LastTerminationState.Terminated},
		}
		if status.Resources != nil {
			resources := memory(*status.Resources)
			small.Resources = &resources
		}
		kept = append(kept, small)
	}
	return kept
}

func memory(all corev1.ResourceRequirements) corev1.ResourceRequirements {
	only := func(list corev1.ResourceList) corev1.ResourceList {
		quantity, ok := list[corev1.ResourceMemory]
		if !ok {
			return nil
		}
		return corev1.ResourceList{corev1.ResourceMemory: quantity}
	}
	return corev1.ResourceRequirements{Limits: only(all.Limits), Requests: only(all.Requests)}
}

func readiness(all []corev1.PodCondition) []corev1.PodCondition {
	return slices.DeleteFunc(all, func(c corev1.PodCondition) bool { return c.Type != corev1.PodReady })
}
