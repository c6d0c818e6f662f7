#include "fs/process.h"

#include "catalog/base/clock.h"
#include "catalog/base/secret.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PID_SPACE "pid:[4026531836]" /* PROC_PID_INIT_INO of the kernel */
#define ARGUMENT_NAME_MAX 128 /* of an argument, as much as says whether the next one is a secret */

static ssize_t read_small(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, size - 1);
	close(fd);
	if (n >= 0)
		text[n] = '\0';
	return n;
}

static pid_t process_of_thread(pid_t tid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
	if (read_small(path, text, sizeof text) <= 0)
		return tid;
	const char *line = strstr(text, "\nTgid:");
	int pid = line ? atoi(line + 6) : 0;
	return pid > 0 ? pid : tid;
}

/* Clock ticks from boot to the start of the process, or -1 (also for one that only waits to be reaped).  The name in parentheses may hold anything, so count from its end. */
static int64_t start_ticks(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (read_small(path, text, sizeof text) <= 0)
		return -1;
	const char *p = strrchr(text, ')');
	if (p && (p[2] == 'Z' || p[2] == 'X'))
		return -1;
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? strtoll(p, NULL, 10) : -1;
}

/* The same number for the same process at every look: the difference of the two clocks is taken to the tick. */
static int64_t wall_of_ticks(int64_t ticks)
{
	struct timespec boot;
	clock_gettime(CLOCK_BOOTTIME, &boot);
	int64_t tick_ns = NS_PER_S / sysconf(_SC_CLK_TCK);
	int64_t booted_ns = clock_now_ns() - ((int64_t)boot.tv_sec * NS_PER_S + boot.tv_nsec);
	return (booted_ns + NS_PER_S / 2) / NS_PER_S * NS_PER_S + ticks * tick_ns;
}

/* Arguments that end with a NUL each (the last one may be cut) become one text, without secrets. */
static void join_arguments(char *text, size_t len)
{
	char before[ARGUMENT_NAME_MAX] = "";
	char *to = text;
	for (char *from = text, *end = text + len; from < end;) {
		size_t n = strnlen(from, (size_t)(end - from)), keep = secret_kept(before, from);
		snprintf(before, sizeof before, "%.*s", (int)sizeof before - 1, from);
		if (keep > n)
			keep = n;
		size_t hidden = n - keep < strlen(SECRET_HIDDEN) ? n - keep : strlen(SECRET_HIDDEN);
		memmove(to, from, keep);
		memcpy(to + keep, SECRET_HIDDEN, hidden);
		to += keep + hidden;
		from += n + 1;
		if (from < end)
			*to++ = ' ';
	}
	*to = '\0';
}

void process_look(pid_t tid, struct process_facts *ret)
{
	char path[64];
	memset(ret, 0, offsetof(struct process_facts, exe));
	ret->pid = tid;
	ret->exe[0] = ret->command[0] = '\0';
	if (tid <= 0)
		return;
	ret->pid = process_of_thread(tid);
	int64_t ticks = start_ticks(ret->pid);
	if (ticks < 0)
		return;
	ret->started_ns = wall_of_ticks(ticks);
	snprintf(path, sizeof path, "/proc/%d/exe", (int)ret->pid);
	ssize_t n = readlink(path, ret->exe, sizeof ret->exe - 1);
	ret->exe[n > 0 ? n : 0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)ret->pid);
	n = read_small(path, ret->command, sizeof ret->command);
	while (n > 0 && !ret->command[n - 1])
		n--;
	join_arguments(ret->command, n > 0 ? (size_t)n : 0);
	secrets_hide(ret->command);
}

static void place_of(char boot[64], char space[64])
{
	if (read_small("/proc/sys/kernel/random/boot_id", boot, 64) <= 0)
		strcpy(boot, "?");
	boot[strcspn(boot, "\n")] = '\0';
	ssize_t n = readlink("/proc/self/ns/pid", space, 63);
	strcpy(space + (n > 0 ? n : 0), n > 0 ? "" : "?");
}

void process_owner(char ret[PROCESS_OWNER_MAX])
{
	char boot[64], space[64];
	place_of(boot, space);
	snprintf(ret, PROCESS_OWNER_MAX, "%s %s %d %" PRId64, boot, space, (int)getpid(), start_ticks(getpid()));
}

/* Is there a process in that pid namespace?  Only root of the first namespace sees them all; others do not know, and say yes. */
static bool space_alive(const char *mine, const char *space)
{
	DIR *d = strcmp(mine, FIRST_PID_SPACE) || geteuid() ? NULL : opendir("/proc");
	if (!d)
		return true;
	bool alive = false;
	for (struct dirent *entry; !alive && (entry = readdir(d));) {
		char path[300], theirs[64];
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%s/ns/pid", entry->d_name);
		ssize_t n = readlink(path, theirs, sizeof theirs - 1);
		theirs[n > 0 ? n : 0] = '\0';
		alive = !strcmp(theirs, space);
	}
	closedir(d);
	return alive;
}

bool process_owner_alive(const char *owner)
{
	char boot[64], space[64], their_boot[64], their_space[64];
	int pid;
	int64_t ticks;
	if (sscanf(owner, "%63s %63s %d %" SCNd64, their_boot, their_space, &pid, &ticks) != 4)
		return true;
	place_of(boot, space);
	if (strcmp(boot, their_boot) != 0)
		return false;
	if (strcmp(space, their_space) != 0)
		return space_alive(space, their_space);
	return ticks >= 0 && start_ticks(pid) == ticks;
}
