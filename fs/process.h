/* What /proc says of a process.  Any thread; nothing is kept. */
#ifndef MESHFS_FS_PROCESS_H
#define MESHFS_FS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_EXE_MAX 1024
#define PROCESS_COMMAND_MAX 4096
#define PROCESS_OWNER_MAX 192

struct process_facts {
	pid_t pid;          /* of the process that the thread `tid` belongs to */
	int64_t started_ns; /* wall clock; 0 when the process is gone */
	char exe[PROCESS_EXE_MAX];
	char command[PROCESS_COMMAND_MAX]; /* words joined by spaces, without secrets (catalog/base/secret.h) */
};

/* `tid` is what the kernel tells of a caller: a thread.  Fills what can be known; a process that is gone or hidden keeps its number. */
void process_look(pid_t tid, struct process_facts *ret);

/* Names this process among all of this machine, also after a reboot and next to other pid namespaces. */
void process_owner(char ret[PROCESS_OWNER_MAX]);
/* May the process of that name still live?  When in doubt, yes. */
bool process_owner_alive(const char *owner);

#endif
