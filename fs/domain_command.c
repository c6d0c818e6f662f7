#include "fs/domain_command.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int domain_command_open(const struct invocation *inv, const char *domain, struct domain_command *ret, struct err *e)
{
	const struct mesh_domain *config;
	struct domain_command c = { NULL, NULL, NULL };
	int r = mesh_open(inv->mesh_path, &c.mesh, e);
	if (!r)
		r = mesh_domain_get(c.mesh, domain, &config, e);
	if (!r)
		r = mesh_transfer_start(c.mesh, &c.transfer, e);
	if (!r)
		r = domain_open(c.mesh, config, c.transfer, &c.domain, e);
	if (r)
		domain_command_close(&c);
	else
		*ret = c;
	return r;
}

void domain_command_close(struct domain_command *c)
{
	domain_free(c->domain);
	transfer_stop(c->transfer);
	mesh_config_free(c->mesh);
	*c = (struct domain_command){ NULL, NULL, NULL };
}

void caller_name(char ret_name[64])
{
	struct passwd pw, *found = NULL;
	char room[4096];
	if (!getpwuid_r(geteuid(), &pw, room, sizeof room, &found) && found && strlen(pw.pw_name) < 64)
		memcpy(ret_name, pw.pw_name, strlen(pw.pw_name) + 1);
	else
		snprintf(ret_name, 64, "uid %lu", (unsigned long)geteuid());
}

static atomic_bool interrupted;

static void on_signal(int number)
{
	(void)number;
	atomic_store(&interrupted, true);
}

const atomic_bool *interrupt_flag(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	return &interrupted;
}
