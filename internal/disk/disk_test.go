package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets tests run this binary as a process that kills itself at a point, or that holds a lock until it is
// killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("DISK_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	kill := func() {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		fmt.Println(err)
		select {}
	}
	if os.Getenv("DISK_TEST_PLAIN") != "" {
		exchange = func(a, b string) error { return errors.ErrUnsupported }
	}
	at := os.Getenv("DISK_TEST_POINT")
	point = func(name string) {
		if name == at {
			kill()
		}
	}
	var err error
	switch os.Getenv("DISK_TEST_DO") {
	case "replace":
		err = ReplaceDir(dir, func(tmp string) error { return fillWith(tmp, "new") })
	case "new":
		err = NewDir(dir, func(tmp string) error { return fillWith(tmp, "new") })
	case "remove":
		err = RemoveDir(dir)
	case "lock":
		if _, err = LockDir(dir); err == nil {
			fmt.Println("locked")
			time.Sleep(time.Minute)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child starts the test binary as a child process that works on dir.
func child(dir string, env ...string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), "DISK_TEST_DIR="+dir), env...)
	return c
}

var parts = []string{"a", "b", "sub/c"}

func fillWith(dir, text string) error {
	err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755)
	for _, p := range parts {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, p), []byte(text), 0o644))
	}
	return err
}

// textOf is the content of every file of dir; they must be equal.
func textOf(t *testing.T, dir string) (text string) {
	t.Helper()
	for i, p := range parts {
		b, err := os.ReadFile(filepath.Join(dir, p))
		require.NoError(t, err)
		require.True(t, i == 0 || string(b) == text, "%s holds %q, others %q", p, b, text)
		text = string(b)
	}
	return text
}

func names(t *testing.T, dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// If the process is killed at any point of ReplaceDir, the folder is completely the old or the new one: at once if the
// system can exchange folders, otherwise after Recover.
func TestReplaceDirKilled(t *testing.T) {
	for _, c := range []struct {
		point string
		plain bool
		was   string // "": it did not exist
		want  string // "": none
	}{
		{"empty", false, "old", "old"}, {"filled", false, "old", "old"}, {"flushed", false, "old", "old"},
		{"placed", false, "old", "new"},
		{"empty", true, "old", "old"}, {"flushed", true, "old", "old"}, {"old away", true, "old", "old"},
		{"new in place", true, "old", "new"},
		{"placed", true, "old", "new"}, {"flushed", false, "", ""}, {"placed", false, "", "new"},
		{"", false, "old", "new"}, {"", true, "old", "new"},
	} {
		t.Run(fmt.Sprintf("%s plain=%v was=%s", c.point, c.plain, c.was), func(t *testing.T) {
			parent := t.TempDir()
			final := filepath.Join(parent, "step-1")
			if c.was != "" {
				require.NoError(t, fillWith(final, c.was))
			}
			env := []string{"DISK_TEST_DO=replace", "DISK_TEST_POINT=" + c.point}
			if c.plain {
				env = append(env, "DISK_TEST_PLAIN=1")
			}
			out, err := child(final, env...).Output()
			require.Equal(t, c.point == "", err == nil, "%v %s", err, out)
			if !c.plain && c.was != "" && (runtime.GOOS == "linux" || runtime.GOOS == "darwin") {
				require.Equal(t, c.want, textOf(t, final), "before Recover")
			}
			require.NoError(t, Recover(parent))
			if c.want == "" {
				require.Empty(t, names(t, parent))
				return
			}
			require.Equal(t, []string{"step-1"}, names(t, parent))
			require.Equal(t, c.want, textOf(t, final))
		})
	}
}

// If ReplaceDir fails, the old folder is unchanged and no temporary folder is left.
func TestReplaceDirFails(t *testing.T) {
	parent := t.TempDir()
	final := filepath.Join(parent, "step-1")
	require.NoError(t, fillWith(final, "old"))
	err := ReplaceDir(final, func(tmp string) error { return errors.Join(fillWith(tmp, "new"), io.ErrShortWrite) })
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Equal(t, []string{"step-1"}, names(t, parent))
	require.Equal(t, "old", textOf(t, final))
}

// A new folder is there with all its files or not at all, whenever the process is killed, and the second to make it is
// told so. What a killed process left goes when it is old.
func TestNewDir(t *testing.T) {
	for point, want := range map[string]string{"empty": "", "filled": "", "flushed": "", "placed": "new"} {
		parent := t.TempDir()
		final := filepath.Join(parent, "a", "files")
		require.Error(t, child(final, "DISK_TEST_DO=new", "DISK_TEST_POINT="+point).Run())
		if want == "" {
			require.NoDirExists(t, final, point)
			left := names(t, filepath.Dir(final))
			require.Len(t, left, 1)
			require.NoError(t, NewDir(final, func(dir string) error { return fillWith(dir, "again") }))
			require.Equal(t, append(left, "files"), names(t, filepath.Dir(final)), "it may be another's, still writing")
			old := time.Now().Add(-time.Hour)
			stale := filepath.Join(filepath.Dir(final), left[0])
			require.NoError(t, filepath.WalkDir(stale, func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Chtimes(path, old, old))
			}))
			want = "again"
		}
		require.ErrorIs(t, NewDir(final, func(string) error { return nil }), fs.ErrExist)
		require.Equal(t, []string{"files"}, names(t, filepath.Dir(final)), point)
		require.Equal(t, want, textOf(t, final), point)
		err := NewDir(final+"2", func(dir string) error { return errors.Join(fillWith(dir, "x"), io.ErrShortWrite) })
		require.ErrorIs(t, err, io.ErrShortWrite)
		require.Equal(t, []string{"files"}, names(t, filepath.Dir(final)), point)
	}
	final := filepath.Join(t.TempDir(), "files")
	err := NewDir(final, func(string) error { return fillWith(final, "another's") })
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, "another's", textOf(t, final))
}

func TestRemoveDirKilled(t *testing.T) {
	parent := t.TempDir()
	final := filepath.Join(parent, "step-1")
	require.NoError(t, fillWith(final, "old"))
	require.Error(t, child(final, "DISK_TEST_DO=remove", "DISK_TEST_POINT=renamed").Run())
	require.NoDirExists(t, final)
	require.NoError(t, Recover(parent))
	require.Empty(t, names(t, parent))
}

// Recover does not touch other names, nor files that another process may still be writing.
func TestRecoverLeavesOthers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".git", "step-1", ".writing-step-2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{".writing-report.html-A", ".writing-report.html-B", ".nfs0001"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	old := time.Now().Add(-2 * staleFile)
	require.NoError(t, os.Chtimes(filepath.Join(dir, ".writing-report.html-B"), old, old))
	require.NoError(t, Recover(dir))
	require.Equal(t, []string{".git", ".nfs0001", ".writing-report.html-A", "step-1"}, names(t, dir))
	require.NoError(t, Recover(filepath.Join(dir, "none")))
}

// A file is replaced atomically.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	require.NoError(t, WriteFile(path, []byte("old")))
	err := Write(path, 0o666, func(w io.Writer) error {
		_, werr := io.WriteString(w, "half")
		return errors.Join(werr, io.ErrUnexpectedEOF)
	})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, []string{"config.yaml"}, names(t, dir))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(b))

	err = WriteFile(filepath.Join(dir, "none", "x"), nil)
	require.EqualError(t, err, "write "+filepath.Join(dir, "none", "x")+": "+syscall.ENOENT.Error(),
		"the path that was asked for, not that of the file beside it")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	require.Error(t, WriteFile(filepath.Join(dir, "sub"), []byte("x")))
	require.Equal(t, []string{"config.yaml", "sub"}, names(t, dir))

	if runtime.GOOS == "windows" {
		return // symbolic links need privileges, and there are no devices
	}
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("config.yaml", link))
	require.NoError(t, WriteFile(link, []byte("new")))
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(b), "a link is followed")
	st, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&os.ModeSymlink, "and stays")
	null := filepath.Join(dir, "null")
	require.NoError(t, os.Symlink(os.DevNull, null))
	require.NoError(t, WriteFile(null, []byte("x")))
	st, err = os.Stat(os.DevNull)
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&os.ModeDevice, "a device stays one")
}

// A folder has one writer. The error names it, and the lock is released when the process is killed.
func TestLockNamesTheHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := child(dir, "DISK_TEST_DO=lock")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	defer c.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)

	_, err = LockDir(dir)
	var busy *Busy
	require.ErrorAs(t, err, &busy)
	require.Equal(t, c.Process.Pid, busy.PID)
	require.Contains(t, err.Error(), fmt.Sprintf("another process is writing to %s (process %d, since %s", dir,
		c.Process.Pid, time.Now().Format("2006-")))
	if runtime.GOOS != "windows" {
		link := filepath.Join(t.TempDir(), "other-name")
		require.NoError(t, os.Symlink(dir, link))
		_, err = LockDir(link)
		require.ErrorAs(t, err, &busy, "by another name it is the same folder")
	}
	require.NoError(t, c.Process.Kill())
	c.Wait()
	require.FileExists(t, filepath.Join(dir, LockName), "the file stays, the lock does not")
	l, err := LockDir(dir)
	require.NoError(t, err)
	_, err = LockDir(dir)
	require.ErrorAs(t, err, &busy)
	require.Contains(t, err.Error(), "this process is writing to "+dir+" already")
	l.Unlock()
	l.Unlock()
	require.Empty(t, names(t, dir))
	require.DirExists(t, dir, "another process made it")
}

// Many processes take the lock of a folder that is created and removed repeatedly. Only one at a time holds it.
func TestLockOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	inside, got := make(chan struct{}, 1), make(chan int)
	for range 4 {
		go func() {
			n := 0
			for range 200 {
				l, err := LockDir(dir)
				if err != nil {
					continue
				}
				select {
				case inside <- struct{}{}:
					n++
					<-inside
				default:
					t.Error("two hold the lock")
				}
				l.Unlock()
			}
			got <- n
		}()
	}
	total := 0
	for range 4 {
		total += <-got
	}
	require.NotZero(t, total)
}

// Unlock removes a folder that LockDir created, if it is empty.
func TestUnlockRemovesWhatItMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	l, err := LockDir(dir)
	require.NoError(t, err)
	l.Unlock()
	require.NoDirExists(t, dir)
	l, err = LockDir(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
	l.Unlock()
	require.Equal(t, []string{"x"}, names(t, dir))
}

// On a file system without locks LockDir succeeds with a note for the user.
func TestNoLocks(t *testing.T) {
	was := lock
	defer func() { lock = was }()
	lock = func(*os.File) error { return errNoLocks }
	dir := t.TempDir()
	a, err := LockDir(dir)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(a.Note, dir+" lies on a file system without locks"), a.Note)
	b, err := LockDir(dir)
	require.NoError(t, err)
	a.Unlock()
	b.Unlock()
	lock = func(*os.File) error { return syscall.EIO }
	_, err = LockDir(dir)
	require.ErrorIs(t, err, syscall.EIO)
	require.Contains(t, err.Error(), "locking "+dir)
}

// What a killed process leaves of a file that Temporary named is cleared away.
func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	path := Temporary(filepath.Join(dir, "model.safetensors"))
	require.NotEqual(t, path, Temporary(filepath.Join(dir, "model.safetensors")))
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	old := time.Now().Add(-2 * staleFile)
	require.NoError(t, os.Chtimes(path, old, old))
	require.NoError(t, Recover(dir))
	require.Empty(t, names(t, dir))
}

// A shared lock is held by one open file at a time, and waiting for it ends with the context.
func TestSharedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks", "x.lock")
	a, ok, err := TryShared(path)
	require.NoError(t, err)
	require.True(t, ok)
	_, ok, err = TryShared(path)
	require.NoError(t, err)
	require.False(t, ok)
	ctx, cancel := context.WithCancel(context.Background())
	_, err = WaitShared(ctx, path, cancel)
	require.ErrorIs(t, err, context.Canceled)
	b, err := WaitShared(context.Background(), path, a.Unlock)
	require.NoError(t, err)
	b.Unlock()
	require.FileExists(t, path, "others may wait for it")
}
