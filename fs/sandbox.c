#include "fs/sandbox.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Landlock's ABI, by its documentation: headers may be older than the kernel. */
struct ruleset {
	uint64_t files, net, scopes;
};
struct beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));
#define RULE_PATH_BENEATH 1
#define GET_VERSION 1u
#define MAY_READ_FILE (1ull << 2)
#define MAY_READ_FOLDER (1ull << 3)

/* A sanitizer's own memory is part of what is limited. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_LIMITED false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MEMORY_LIMITED false
#endif
#endif
#ifndef MEMORY_LIMITED
#define MEMORY_LIMITED true
#endif

static int limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit now;
	if (getrlimit(what, &now))
		return -errno;
	if (now.rlim_max != RLIM_INFINITY && now.rlim_max < most)
		most = now.rlim_max;
	return setrlimit(what, &(struct rlimit){ most, most }) ? -errno : 0;
}

/* Root keeps no right but to read: what it reads may be of others. */
static int shed_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct rights[2] = { 0 };
	if (geteuid())
		return 0;
	const uint32_t kept = 1u << CAP_DAC_READ_SEARCH;
	if (syscall(SYS_capget, &head, rights))
		return -errno;
	rights[0] = (struct __user_cap_data_struct){ rights[0].effective & kept, rights[0].permitted & kept, 0 };
	rights[1] = (struct __user_cap_data_struct){ 0 };
	return syscall(SYS_capset, &head, rights) ? -errno : 0;
}

static void go_first(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)io_write_full(fd, "1000", 4);
	close(fd);
}

int sandbox_enter(uint64_t memory_bytes)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	go_first();
	int r = limit(RLIMIT_CORE, 0);
	if (!r)
		r = limit(RLIMIT_FSIZE, 0);
	if (!r && MEMORY_LIMITED)
		r = limit(RLIMIT_DATA, memory_bytes);
	return r ? r : shed_rights();
}

/* What a ruleset of that version can know of. */
static struct ruleset all_of(long version)
{
	const unsigned files = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;
	return (struct ruleset){ (1ull << files) - 1, version >= 4 ? 3 : 0, version >= 6 ? 3 : 0 };
}

static int allow(int ruleset, const char *path, uint64_t what)
{
	struct beneath rule = { what, open(path, O_PATH | O_CLOEXEC) };
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
	close(rule.parent_fd);
	return r;
}

int sandbox_confine(const struct sandbox_names *may)
{
	const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, GET_VERSION);
	if (version < 1)
		return 0;
	const struct ruleset all = all_of(version);
	int r = 0, fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < may->read_count && !r; i++)
		r = allow(fd, may->read[i], MAY_READ_FILE);
	for (size_t i = 0; i < may->list_count && !r; i++)
		r = allow(fd, may->list[i], MAY_READ_FOLDER);
	if (!r && syscall(SYS_landlock_restrict_self, fd, 0))
		r = -errno;
	close(fd);
	return r;
}
