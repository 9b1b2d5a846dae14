package main

import (
	"sync"
	"syscall"
	"time"
)

// diskLook is how often the disk is looked at while a contender runs.
const diskLook = 20 * time.Millisecond

// watchDisk looks how much the file system of dir is filled. The function that it
// returns ends that, and says by how many bytes it was fuller than now at most.
func watchDisk(dir string) func() int64 {
	before := filled(dir)
	var most int64
	end := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for tick := time.NewTicker(diskLook); ; {
			most = max(most, filled(dir)-before)
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() int64 {
		close(end)
		watch.Wait()
		return most
	}
}

// filled is how many bytes of a file system are in use.
func filled(dir string) int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0
	}
	return int64(fs.Blocks-fs.Bfree) * fs.Bsize
}
