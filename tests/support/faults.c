// SPDX-License-Identifier: GPL-2.0
/*
 * A thermal zone with a temperature that tests set, and devices that hang. Only the tests' virtual machine loads it.
 * It is under the GPL, unlike hydrart, because the kernel exports the functions of thermal zones only to GPL modules.
 *
 * millicelsius: the zone's temperature, writable; INT_MIN: reading it fails.
 * nodes: names of up to two devices below /dev. Opening one waits until the writable `hang` is 0. Only a fatal signal
 * ends the wait at the first device, like waits of file systems. No signal ends it at the second, like broken drivers.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/thermal.h>

static int millicelsius = 40000;
module_param(millicelsius, int, 0644);
static char *nodes[2];
static int count;
module_param_array(nodes, charp, &count, 0444);
static int hang = 1;
module_param(hang, int, 0644);

static int get_temp(struct thermal_zone_device *zone, int *temp)
{
	if (millicelsius == INT_MIN)
		return -EIO;
	*temp = millicelsius;
	return 0;
}

static struct thermal_zone_device_ops zone_ops = { .get_temp = get_temp };
static struct thermal_zone_device *zone;

static struct miscdevice devices[2];

static int hang_open(struct inode *inode, struct file *file)
{
	bool killable = iminor(inode) == devices[0].minor;

	while (READ_ONCE(hang)) {
		set_current_state(killable ? TASK_KILLABLE : TASK_UNINTERRUPTIBLE);
		schedule_timeout(HZ / 10);
		if (killable && fatal_signal_pending(current))
			return -EINTR;
	}
	return -EIO;
}

static const struct file_operations hang_fops = { .owner = THIS_MODULE, .open = hang_open };

static void unregister(int registered)
{
	while (registered--)
		misc_deregister(&devices[registered]);
	thermal_zone_device_unregister(zone);
}

static int __init faults_init(void)
{
	int i, error;

	zone = thermal_zone_device_register("cpu-thermal", 0, 0, NULL, &zone_ops, NULL, 0, 0);
	if (IS_ERR(zone))
		return PTR_ERR(zone);
	for (i = 0; i < count; i++) {
		devices[i].minor = MISC_DYNAMIC_MINOR;
		devices[i].name = nodes[i];
		devices[i].fops = &hang_fops;
		devices[i].mode = 0666;
		error = misc_register(&devices[i]);
		if (error) {
			unregister(i);
			return error;
		}
	}
	return 0;
}

static void __exit faults_exit(void)
{
	unregister(count);
}

module_init(faults_init);
module_exit(faults_exit);
MODULE_DESCRIPTION("A thermal zone and devices that hang, for tests");
MODULE_LICENSE("GPL");
