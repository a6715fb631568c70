/** Deliveries for the reference file: every kind of destination, and some ways to shape records. */
export const deliveryExamples = {
  archive: {
    from: { stream: 'readings' },
    to: {
      s3: {
        bucket: 'telemetry',
        prefix: 'site-1/',
        region: 'eu-central-1',
        endpoint: 'https://s3.example.net',
        accessKeyId: 'AKIAEXAMPLE',
        secretAccessKey: '${S3_SECRET:-change-me}',
      },
    },
    transform: { function: { module: { path: './redact.mjs' } } },
  },
  'by-device': {
    from: { stream: 'readings' },
    to: {
      folder: {
        path: './by-device',
        prefix: '!{partitionKeyFromQuery:device}/!{timestamp:yyyy/MM/dd}/',
      },
    },
    layout: { partitionBy: { device: 'device.id' } },
  },
  footage: { from: { camera: 'front' }, to: { folder: { path: './delivered' } } },
  tables: {
    from: { stream: 'readings' },
    to: { folder: { path: './tables' } },
    format: {
      type: 'parquet',
      columns: [
        { name: 'at', type: 'timestamp', from: 'time' },
        { name: 'temperature', type: 'double' },
      ],
    },
  },
  cleaned: {
    from: { stream: 'readings' },
    to: { folder: { path: './cleaned' } },
    transform: {
      function: {
        http: {
          url: 'http://127.0.0.1:9000/clean',
          authorization: '${CLEANER_TOKEN:-Bearer x}',
        },
      },
    },
    backup: {
      to: { s3: { bucket: 'originals', prefix: 'readings/', region: 'eu-central-1' } },
      record: 'envelope',
      format: { type: 'ndjson' },
    },
  },
  enriched: {
    from: { stream: 'readings' },
    to: { folder: { path: './enriched' } },
    backup: { to: { folder: { path: './originals' } }, format: { delimiter: '\n' } },
    transform: { function: { lambda: { function: 'enrich', region: 'eu-central-1' } } },
  },
  live: {
    from: { stream: 'camera-events' },
    to: { kinesis: { stream: 'camera-events', region: 'eu-central-1' } },
    startAt: 'latest',
  },
  video: {
    from: { camera: 'front' },
    to: { kinesisVideo: { stream: 'front', region: 'eu-central-1' } },
    priority: 3,
    schedule: {
      windows: [{ hours: '22:00-06:00' }, { hours: '12:00-13:00', days: ['sat', 'sun'] }],
      timeZone: 'Europe/Berlin',
    },
    onlyWhile: { program: './is-on-wifi', arguments: ['wlan0'] },
  },
  partner: {
    from: { stream: 'readings' },
    to: {
      http: {
        url: 'https://ingest.example.net/v1',
        accessKey: '${HTTP_KEY:-change-me}',
        commonAttributes: { site: 'north' },
        compression: 'gzip',
      },
    },
    failed: {
      to: {
        s3: {
          bucket: 'undelivered',
          prefix: 'partner/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/',
          region: 'eu-central-1',
        },
      },
    },
  },
  search: {
    from: { stream: 'readings' },
    to: {
      opensearch: {
        endpoint: 'https://search.example.net:9200',
        index: 'readings',
        rotation: 'day',
        username: 'gateway',
        password: '${SEARCH_PASSWORD:-change-me}',
      },
    },
    failed: { to: { folder: { path: './undelivered' } }, format: { compression: 'none' } },
  },
  logs: {
    from: { stream: 'app-log' },
    to: {
      splunk: {
        endpoint: 'https://splunk.example.net:8088',
        token: '${SPLUNK_TOKEN:-change-me}',
        sourcetype: 'app',
      },
    },
  },
  twins: {
    from: { stream: 'readings' },
    to: { dynamodb: { table: 'devices', region: 'eu-central-1', sets: ['tags'] } },
  },
  warehouse: {
    from: { stream: 'readings' },
    to: {
      redshift: {
        host: 'plant.0123456789.eu-central-1.redshift-serverless.amazonaws.com',
        database: 'plant',
        username: 'gateway',
        password: '${REDSHIFT_PASSWORD:-change-me}',
        table: 'readings',
        columns: ['device', 'time', 'value'],
        iamRole: 'arn:aws:iam::123456789012:role/load-readings',
        staging: { bucket: 'plant-staging', region: 'eu-central-1' },
      },
    },
  },
  messages: {
    from: { stream: 'readings' },
    to: {
      nats: {
        servers: ['nats://nats.example.net:4222'],
        subject: 'plant.{partitionKey}',
        token: '${NATS_TOKEN:-change-me}',
      },
    },
  },
  topic: {
    from: { stream: 'readings' },
    to: {
      kafka: {
        brokers: ['kafka-1.example.net:9093', 'kafka-2.example.net:9093'],
        topic: 'readings',
        compression: 'lz4',
        tls: true,
        sasl: 'scram-sha-512',
        username: 'gateway',
        password: '${KAFKA_PASSWORD:-change-me}',
      },
    },
  },
};
