/* Which mesh.yaml a command means. */
#include "catalog/mesh.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_file(const char *path)
{
	struct stat st;
	return path && !stat(path, &st) && S_ISREG(st.st_mode);
}

/* A path that someone named: the file, or the folder that holds it. */
static int find_given(const char *given, const char *source, char **ret, struct err *e)
{
	struct stat st;
	char *path = io_absolute(NULL, given);
	if (!path)
		return err_set(e, -ENOMEM, "%s: out of memory", given);
	int r = stat(path, &st) ? -errno : 0;
	if (!r && S_ISDIR(st.st_mode)) {
		char *inside = io_join(path, "mesh.yaml");
		free(path);
		path = inside;
		r = is_file(path) ? 0 : -ENOENT;
	}
	if (r) {
		err_set(e, r, "%s%s: %s; 'meshfs init' makes a mesh", source, given, strerror(-r));
		free(path);
		return r;
	}
	*ret = path;
	return 0;
}

static char *find_above(void)
{
	char *folder = io_absolute(NULL, ".");
	while (folder) {
		char *path = io_join(folder, "mesh.yaml");
		if (is_file(path)) {
			free(folder);
			return path;
		}
		free(path);
		char *slash = strrchr(folder, '/');
		if (!slash || !folder[1])
			break;
		slash[slash == folder] = '\0';
	}
	free(folder);
	return NULL;
}

int mesh_find(const char *given, char **ret, struct err *e)
{
	const char *variable = getenv("MESHFS_MESH");
	if (given)
		return find_given(given, "", ret, e);
	if (variable && *variable)
		return find_given(variable, "$MESHFS_MESH: ", ret, e);
	char *path = find_above();
	if (!path) {
		path = io_expand_home("~/.config/meshfs/mesh.yaml");
		if (!is_file(path)) {
			free(path);
			path = is_file("/etc/meshfs/mesh.yaml") ? strdup("/etc/meshfs/mesh.yaml") : NULL;
		}
	}
	if (!path)
		return err_set(e, -ENOENT, "no mesh.yaml here or in a parent folder, in ~/.config/meshfs or in /etc/meshfs; name one with -m, "
					   "or make one with 'meshfs init'");
	*ret = path;
	return 0;
}

int mesh_open(const char *given, struct mesh_config **ret, struct err *e)
{
	char *path;
	int r = mesh_find(given, &path, e);
	if (r)
		return r;
	r = mesh_load(path, ret, e);
	free(path);
	return r;
}
