/* What a sandboxed process cannot do any more: each test gives a child of its own up. */
#include "check.h"

#include "fs/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static char *in_folder(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void make_file(const char *name)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0);
	close(fd);
}

static void begin(void)
{
	snprintf(folder, sizeof folder, "/tmp/sandbox-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
}

static void end(void)
{
	CHECK(rmdir(folder) == 0);
}

/* The status of a child that runs `work`; it says with 0 that all was as it should be, else with the number of what was not. */
static int child(int (*work)(void))
{
	int status;
	pid_t pid = fork();
	if (!pid)
		_exit(work());
	if (waitpid(pid, &status, 0) != pid)
		return 999;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int denied(const char *path, int flags)
{
	int fd = open(path, flags, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EACCES;
}

static int confined(void)
{
	static char yes[128], list[128];
	snprintf(yes, sizeof yes, "%s", in_folder("yes"));
	snprintf(list, sizeof list, "%s", folder);
	const char *const read[] = { yes, "/nonexistent" }, *const lists[] = { list };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int outside = open("/", O_RDONLY | O_DIRECTORY);
	if (sandbox_confine(&(struct sandbox_names){ read, lists, 2, 1 }))
		return 1;
	if (open(yes, O_RDONLY) < 0)
		return 2;
	if (open(list, O_RDONLY | O_DIRECTORY) < 0)
		return 3;
	if (!denied(yes, O_WRONLY) || !denied(in_folder("no"), O_RDONLY) || !denied("/etc/passwd", O_RDONLY) || !denied("/", O_RDONLY | O_DIRECTORY))
		return 4;
	if (!denied(in_folder("new"), O_WRONLY | O_CREAT) || mkdir(in_folder("sub"), 0700) != -1 || errno != EACCES || unlink(yes) != -1 || errno != EACCES)
		return 5;
	if (openat(outside, "etc/passwd", O_RDONLY) != -1 || errno != EACCES)
		return 6;
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s >= 0 && (connect(s, (struct sockaddr *)&at, sizeof at) != -1 || (errno != EACCES && errno != ECONNREFUSED)))
		return 7;
	return symlink("/etc/passwd", in_folder("link")) == -1 ? 0 : 8;
}

TEST(what_is_not_named_is_out_of_reach)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) < 1) {
		fprintf(stderr, "this kernel knows no Landlock: what it denies is not tested\n");
		return;
	}
	begin();
	make_file("yes");
	make_file("no");
	CHECK_INT(child(confined), 0);
	CHECK(unlink(in_folder("yes")) == 0 && unlink(in_folder("no")) == 0);
	end();
}

static int entered(void)
{
	const size_t much = (size_t)512 << 20;
	signal(SIGXFSZ, SIG_IGN);
	if (sandbox_enter((uint64_t)256 << 20))
		return 1;
	int fd = open(in_folder("written"), O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, "x", 1) != -1 || errno != EFBIG)
		return 2;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	if (mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 3;
#else
	(void)much;
#endif
	if (geteuid() == 0 && (setuid(65534) != -1 || errno != EPERM))
		return 4;
	return 0;
}

TEST(nothing_is_written_and_memory_is_bounded)
{
	begin();
	CHECK_INT(child(entered), 0);
	unlink(in_folder("written"));
	end();
}

/* A parent that dies takes it along. */
static int parent(void)
{
	if (!fork()) {
		if (sandbox_enter((uint64_t)1 << 40))
			_exit(1);
		for (;;)
			pause();
	}
	usleep(200000);
	_exit(0);
}

TEST(it_ends_with_its_parent)
{
	int pipes[2];
	char byte;
	CHECK(pipe(pipes) == 0);
	CHECK_INT(child(parent), 0);
	close(pipes[1]);
	CHECK(read(pipes[0], &byte, 1) == 0); /* nobody holds the other end any more */
	close(pipes[0]);
}

CHECK_MAIN()
