#include "fs/mount_helper.h"

#include "test/unit/check.h"

#include <errno.h>

TEST(names)
{
	CHECK(mount_helper_named("/sbin/mount.fuse.meshfs"));
	CHECK(mount_helper_named("mount.meshfs"));
	CHECK(!mount_helper_named("/usr/bin/meshfs"));
	CHECK(!mount_helper_named("/sbin/mount.fuse.meshfs/meshfs"));
}

TEST(options_of_an_fstab_line)
{
	char text[] = "rw,noauto,_netdev,x-systemd.automount,purpose=training,run=r 1,as=ana,over";
	struct mount_options o = { 0 };
	struct err e = ERR_INIT;
	CHECK_OK(mount_helper_options(text, &o, &e), &e);
	CHECK_STR(o.purpose, "training");
	CHECK_STR(o.run, "r 1");
	CHECK_STR(o.user, "ana");
	CHECK(o.over && !o.foreground);
}

TEST(unknown_options_are_wrong_usage)
{
	char text[] = "purpos=training";
	struct mount_options o = { 0 };
	struct err e = ERR_INIT;
	CHECK_INT(mount_helper_options(text, &o, &e), -EINVAL);
	CHECK_INT(err_exit_status(&e), 2);
	CHECK(strstr(e.text, "purpos=training") && strstr(e.text, "purpose"));
}

TEST(empty_options_are_fine)
{
	char text[] = ",,";
	struct mount_options o = { 0 };
	CHECK_INT(mount_helper_options(text, &o, NULL), 0);
	CHECK(!o.purpose && !o.run && !o.user);
}

CHECK_MAIN()
