//! The findings: four wordings, two denials.

pub type Finding = ([&'static str; 4], [&'static str; 2]);

pub const FINDINGS: [Finding; 24] = [
    (
        [
            "the migration drops a column that the running revision still reads",
            "a column is dropped by the migration while the old revision reads it",
            "dropping the column breaks the revision that is still running",
            "the old revision still reads the column this migration drops",
        ],
        [
            "the migration drops no column that the running revision reads",
            "the migration does not drop a column the old revision reads",
        ],
    ),
    (
        [
            "the new index is built while the table is locked",
            "building the index locks the whole table",
            "the table stays locked as long as the index is built",
            "index creation takes a lock on the table",
        ],
        ["the index is built without locking the table", "building the new index does not lock the table"],
    ),
    (
        [
            "the latency objective is violated at the ninety-ninth percentile",
            "p99 latency is above the objective",
            "tail latency exceeds the service level objective",
            "the latency at the ninety-ninth percentile misses its objective",
        ],
        ["the latency objective is not violated", "p99 latency is not above the objective"],
    ),
    (
        [
            "the error budget of this month is already spent",
            "this month's error budget is used up and spent",
            "the monthly error budget has been spent",
            "most of the error budget was spent this month",
        ],
        ["the error budget of this month is not spent", "this month's error budget has not been spent"],
    ),
    (
        [
            "memory is enough for twice the traffic",
            "there is enough memory for double the traffic",
            "the memory limit is enough for the expected traffic",
            "enough memory is reserved for the traffic at peak",
        ],
        [
            "memory is insufficient for twice the traffic",
            "the memory limit is not enough for the expected traffic",
        ],
    ),
    (
        [
            "a single replica takes all requests during the update",
            "during the update one single replica takes all of the requests",
            "all requests go to a single replica while updating",
            "only a single replica serves requests during the rolling update",
        ],
        [
            "no single replica takes all requests during the update",
            "requests never go to a single replica during the update",
        ],
    ),
    (
        [
            "the image is pinned by its digest",
            "the container image is pinned to a digest",
            "its image digest is pinned",
            "images are pinned by digest",
        ],
        [
            "the image is not pinned by its digest",
            "the container image is unpinned, it has no digest but is tagged with no care",
        ],
    ),
    (
        [
            "the container runs as root",
            "root is the user of the running container",
            "the process in the container runs as the root user",
            "the container is run by root",
        ],
        ["the container does not run as root", "the container never runs as the root user"],
    ),
    (
        [
            "traffic between the services is encrypted",
            "services encrypt the traffic between them",
            "the traffic among services is encrypted with mutual TLS",
            "encrypted traffic is used between all services",
        ],
        ["traffic between the services is unencrypted", "the traffic between services is not encrypted"],
    ),
    (
        [
            "a secret is written into the environment of the manifest",
            "the manifest contains a secret in its environment",
            "a plain secret stands in the manifest's environment",
            "the environment in the manifest holds a secret in plain text",
        ],
        [
            "the manifest contains no secret in its environment",
            "no secret is written into the manifest's environment",
        ],
    ),
    (
        [
            "the payment client is compatible with the new interface",
            "the new interface stays compatible with the payment client",
            "the interface is compatible with the client of payments",
            "payment clients are compatible with the changed interface",
        ],
        [
            "the payment client is incompatible with the new interface",
            "the new interface is not compatible with the payment client",
        ],
    ),
    (
        [
            "the library was raised by a major version",
            "a major version of the library changed",
            "the library jumps a major version",
            "this raises the library to a new major version",
        ],
        ["the library was not raised by a major version", "no major version of the library changed"],
    ),
    (
        [
            "the rollback was tested with the present data",
            "a rollback has been tested on present data",
            "they tested the rollback with the data of today",
            "the rollback is tested against present data",
        ],
        [
            "the rollback is untested with the present data",
            "the rollback was never tested with the present data",
        ],
    ),
    (
        [
            "the previous revision is kept for a rollback",
            "the previous revision stays available for rolling back",
            "a rollback finds the previous revision kept",
            "for the rollback the previous revision is kept running",
        ],
        [
            "the previous revision is not kept for a rollback",
            "the previous revision is unavailable for rolling back",
        ],
    ),
    (
        [
            "a readiness probe is set on the gateway",
            "the gateway has a readiness probe",
            "the readiness probe of the gateway is set",
            "gateway pods have their readiness probe set",
        ],
        ["no readiness probe is set on the gateway", "the gateway lacks a readiness probe"],
    ),
    (
        [
            "the timeout of the client is shorter than that of the server",
            "client timeouts are shorter than the server's timeout",
            "the client's timeout is shorter than the server timeout",
            "the server has a longer timeout, the client a shorter timeout",
        ],
        [
            "the timeout of the client is not shorter than that of the server",
            "client timeouts are never shorter than the server's timeout",
        ],
    ),
    (
        [
            "an alert watches the length of the queue",
            "the queue length is watched by an alert",
            "there is an alert on the length of the queue",
            "alerts watch how long the queue's length gets",
        ],
        ["no alert watches the length of the queue", "the queue length is not watched by any alert"],
    ),
    (
        [
            "the new endpoint is covered by the dashboard",
            "the dashboard covers the new endpoint",
            "the dashboard has the new endpoint covered",
            "new endpoints are covered on the dashboard",
        ],
        ["the new endpoint is not covered by the dashboard", "the dashboard does not cover the new endpoint"],
    ),
    (
        [
            "the change is inside the freeze window",
            "this change falls inside the freeze window",
            "the freeze window is open and this change is inside it",
            "the deployment's change lies inside a freeze window",
        ],
        ["the change is not inside the freeze window", "this change does not fall inside the freeze window"],
    ),
    (
        [
            "the owner of the service approved the change",
            "the change was approved by the service owner",
            "the service's owner has approved this change",
            "approval of the change by the owner of the service is given, approved",
        ],
        [
            "the owner of the service has not approved the change",
            "the change was not approved by the service owner",
        ],
    ),
    (
        [
            "the cost of the cluster doubles with this plan",
            "this plan doubles what the cluster costs",
            "the plan doubles the cluster's cost",
            "cluster costs are doubled by the plan",
        ],
        [
            "the cost of the cluster does not double with this plan",
            "the plan does not double the cluster's cost",
        ],
    ),
    (
        [
            "the documentation of the release names the breaking change",
            "the breaking change is named in the release documentation",
            "release documentation names the change that breaks",
            "the release's documentation names what is a breaking change",
        ],
        [
            "the documentation of the release does not name the breaking change",
            "the breaking change is not named in the release documentation",
        ],
    ),
    (
        [
            "the connection pool is bounded below the database's limit",
            "the pool of connections is bounded under the database limit",
            "connection pools are bounded by the database's limit",
            "the database limit bounds the connection pool",
        ],
        [
            "the connection pool is unbounded and passes the database's limit",
            "the connection pool is not bounded below the database's limit",
        ],
    ),
    (
        [
            "debug logging is enabled in production",
            "production has debug logging enabled",
            "the debug logging stays enabled in production",
            "logging at debug level is enabled for production",
        ],
        ["debug logging is disabled in production", "debug logging is not enabled in production"],
    ),
];

/// The same findings again, one each, in words that share next to nothing with the others.
pub const SYNONYMS: [&str; 24] = [
    "some live code needs the field that will vanish",
    "writers wait until the key structure exists",
    "slow answers are more frequent than promised",
    "we have failed more often than we may until the thirtieth",
    "RAM suffices even if load grows by a hundred percent",
    "one pod must carry everybody in the meantime",
    "an exact hash says what is deployed",
    "uid zero owns every process inside",
    "nobody on the wire can listen in",
    "a password can be read by whoever opens the file",
    "callers of checkout understand the changed contract",
    "a package went from two to three",
    "going back was rehearsed on a copy of production",
    "yesterday's build remains ready to take over",
    "kubelet learns when to send requests",
    "callers give up earlier than callees",
    "someone is paged when work piles up",
    "operators see graphs for what was added",
    "deployments are forbidden this week",
    "whoever is responsible has signed off",
    "we would pay two times as much",
    "release notes tell users what stops working",
    "database sessions cannot run out",
    "verbose output goes to the live systems",
];
